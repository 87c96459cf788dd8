package larder.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.netflix.appinfo.InstanceInfo;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Drives a client by commands: one JSON object a line on standard input, one answer a line on
 * standard output. What the commands mean is in interop/README.md.
 */
final class Commands {
  /** What a client does with each command. */
  interface Client {
    /** Returns when it has registered and read the registry. */
    void start(Start start) throws Exception;

    List<InstanceInfo> byApp(String app);

    List<InstanceInfo> byVip(String vip);

    void setStatus(String status) throws Exception;

    void liftStatus() throws Exception;

    void stop() throws Exception;
  }

  /** How to register; {@code interval} and {@code duration} in seconds. */
  record Start(
      String server,
      String app,
      String id,
      String host,
      String ip,
      int port,
      String vip,
      Map<String, String> metadata,
      int interval,
      int duration) {}

  private static final ObjectMapper JSON = new ObjectMapper();

  private Commands() {}

  /** Answers commands until standard input ends or the client has stopped; then the program ends. */
  static void answer(Client client) throws Exception {
    PrintStream answers = new PrintStream(System.out, true, UTF_8);
    // Whatever else writes to standard output, it belongs to the answers.
    System.setOut(System.err);
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    for (String line; (line = commands.readLine()) != null; ) {
      JsonNode command = JSON.readTree(line);
      String name = command.path("do").asText();
      Map<String, Object> outcome = new LinkedHashMap<>();
      try {
        outcome.put("answer", run(client, name, command));
      } catch (Exception error) {
        outcome = Map.of("error", String.valueOf(error));
      }
      answers.println(JSON.writeValueAsString(outcome));
      if (name.equals("stop")) {
        break;
      }
    }
    // Some of the clients' threads would keep the program alive.
    Runtime.getRuntime().halt(0);
  }

  private static Object run(Client client, String name, JsonNode command) throws Exception {
    switch (name) {
      case "start" -> client.start(start(command));
      case "by_app" -> {
        return told(client.byApp(command.path("app").asText()));
      }
      case "by_vip" -> {
        return told(client.byVip(command.path("vip").asText()));
      }
      case "set_status" -> client.setStatus(command.path("status").asText());
      case "lift_status" -> client.liftStatus();
      case "stop" -> client.stop();
      default -> throw new IllegalArgumentException("no such command: " + name);
    }
    return null;
  }

  private static Start start(JsonNode command) {
    Map<String, String> metadata = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> pair : command.path("metadata").properties()) {
      metadata.put(pair.getKey(), pair.getValue().asText());
    }
    return new Start(
        command.path("server").asText(),
        command.path("app").asText(),
        command.path("id").asText(),
        command.path("host").asText(),
        command.path("ip").asText(),
        command.path("port").asInt(),
        command.path("vip").asText(),
        metadata,
        command.path("interval").asInt(),
        command.path("duration").asInt());
  }

  private static List<Map<String, Object>> told(List<InstanceInfo> instances) {
    List<Map<String, Object>> told = new ArrayList<>();
    for (InstanceInfo instance : instances) {
      told.add(
          Map.of(
              "id", instance.getId(),
              "app", instance.getAppName(),
              "host", instance.getHostName(),
              "ip", instance.getIPAddr(),
              "port", instance.getPort(),
              "vip", instance.getVIPAddress(),
              "status", instance.getStatus().name(),
              "metadata", instance.getMetadata()));
    }
    return told;
  }
}
