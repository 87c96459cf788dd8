package larder.interop;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.web.server.context.WebServerInitializedEvent;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.ApplicationListener;
import org.springframework.context.annotation.Configuration;

/** A Spring Cloud Netflix Eureka server on loopback. */
public final class EurekaServer {
  private static final String ITSELF = "http://127.0.0.1:0/eureka/";

  private EurekaServer() {}

  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  @EnableEurekaServer
  static class Application {}

  public static void main(String[] arguments) {
    SpringApplication application = new SpringApplication(Application.class);
    application.setDefaultProperties(
        Map.ofEntries(
            Map.entry("server.address", "127.0.0.1"),
            Map.entry("server.port", "0"),
            Map.entry("spring.main.banner-mode", "off"),
            Map.entry("logging.level.root", "error"),
            Map.entry("eureka.dashboard.enabled", "false"),
            Map.entry("eureka.client.register-with-eureka", "false"),
            Map.entry("eureka.client.fetch-registry", "false"),
            // It needs a list of peers, and drops itself from it: so it has none, unless told.
            Map.entry("eureka.client.service-url.defaultZone", ITSELF),
            Map.entry("eureka.server.my-url", ITSELF),
            Map.entry("eureka.server.enable-self-preservation", "false"),
            Map.entry("eureka.server.eviction-interval-timer-in-ms", "500"),
            Map.entry("eureka.server.response-cache-update-interval-ms", "200"),
            Map.entry("eureka.server.wait-time-in-ms-when-sync-empty", "0")));
    application.addListeners(
        (ApplicationListener<WebServerInitializedEvent>)
            event ->
                System.out.println(
                    "listening on http://127.0.0.1:" + event.getWebServer().getPort()));
    application.run(arguments);
  }
}
