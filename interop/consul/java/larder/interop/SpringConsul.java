package larder.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.discovery.event.HeartbeatEvent;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.event.EventListener;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Drives Spring Cloud Consul by commands: one JSON object a line on standard input, one answer a line
 * on standard output. What the commands mean is in interop/consul/README.md.
 */
public final class SpringConsul {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private ConfigurableApplicationContext context;

  private SpringConsul() {}

  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class SpringApp {
    /** How often the client's watch of the catalog has told of a change. */
    private final AtomicInteger changes = new AtomicInteger();

    @EventListener
    void changed(HeartbeatEvent event) {
      changes.incrementAndGet();
    }
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream answers = new PrintStream(System.out, true, UTF_8);
    // Whatever else writes to standard output, it belongs to the answers.
    System.setOut(System.err);
    SpringConsul client = new SpringConsul();
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    for (String line; (line = commands.readLine()) != null; ) {
      Map<String, Object> outcome = new HashMap<>();
      try {
        outcome.put("answer", client.run(JSON.readTree(line)));
      } catch (Exception error) {
        outcome = Map.of("error", String.valueOf(error));
      }
      answers.println(JSON.writeValueAsString(outcome));
    }
    // Some of the client's threads would keep the program alive.
    Runtime.getRuntime().halt(0);
  }

  private Object run(JsonNode command) {
    switch (command.path("do").asString()) {
      case "start" -> start(command);
      case "instances" -> {
        return instances(command.path("service").asString());
      }
      case "services" -> {
        return context.getBean(DiscoveryClient.class).getServices();
      }
      case "changes" -> {
        return context.getBean(SpringApp.class).changes.get();
      }
      case "stop" -> context.close();
      default -> throw new IllegalArgumentException("no such command: " + command);
    }
    return null;
  }

  private void start(JsonNode about) {
    SpringApplication application = new SpringApplication(SpringApp.class);
    application.setDefaultProperties(properties(about));
    context = application.run();
  }

  private static Map<String, Object> properties(JsonNode about) {
    String discovery = "spring.cloud.consul.discovery.";
    Map<String, Object> properties = new HashMap<>();
    properties.put("spring.main.banner-mode", "off");
    properties.put("logging.level.root", "off");
    // What it listens on, it does for itself alone.
    properties.put("server.address", "127.0.0.1");
    properties.put("server.port", 0);
    properties.put("spring.cloud.consul.host", about.path("host").asString());
    properties.put("spring.cloud.consul.port", about.path("consul_port").asInt());
    properties.put(discovery + "service-name", about.path("service").asString());
    properties.put(discovery + "instance-id", about.path("id").asString());
    properties.put(discovery + "hostname", about.path("address").asString());
    properties.put(discovery + "port", about.path("port").asInt());
    properties.put(discovery + "tags", about.path("tags").asString());
    properties.put(discovery + "query-passing", true);
    properties.put(discovery + "catalog-services-watch-delay", 100);
    properties.put(discovery + "heartbeat.enabled", true);
    properties.put(discovery + "heartbeat.ttl", about.path("ttl").asString());
    return properties;
  }

  private List<Map<String, Object>> instances(String service) {
    List<Map<String, Object>> told = new ArrayList<>();
    for (ServiceInstance found : context.getBean(DiscoveryClient.class).getInstances(service)) {
      told.add(
          Map.of(
              "id", found.getInstanceId(),
              "host", found.getHost(),
              "port", found.getPort(),
              "metadata", found.getMetadata()));
    }
    return told;
  }
}
