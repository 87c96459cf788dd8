package larder.interop;

import com.netflix.appinfo.InstanceInfo;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.shared.Application;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.serviceregistry.Registration;
import org.springframework.cloud.client.serviceregistry.ServiceRegistry;
import org.springframework.cloud.netflix.eureka.EurekaServiceInstance;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;

/** Drives Spring Cloud Netflix's client, over its RestClient. */
public final class SpringClient implements Commands.Client {
  private ConfigurableApplicationContext context;

  private SpringClient() {}

  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class SpringApp {}

  public static void main(String[] arguments) throws Exception {
    Commands.answer(new SpringClient());
  }

  @Override
  public void start(Commands.Start start) throws InterruptedException {
    SpringApplication application = new SpringApplication(SpringApp.class);
    application.setWebApplicationType(WebApplicationType.NONE);
    application.setDefaultProperties(properties(start));
    context = application.run();
    // It registers and reads in threads of its own.
    while (byApp(start.app()).stream().noneMatch(held -> held.getId().equals(start.id()))) {
      Thread.sleep(20);
    }
  }

  private static Map<String, Object> properties(Commands.Start start) {
    Map<String, Object> properties = new HashMap<>();
    properties.put("spring.main.banner-mode", "off");
    properties.put("eureka.client.jersey.enabled", false);
    properties.put("eureka.client.service-url.defaultZone", start.server() + "/");
    properties.put("eureka.client.registry-fetch-interval-seconds", 1);
    properties.put("eureka.client.initial-instance-info-replication-interval-seconds", 0);
    properties.put("eureka.client.filter-only-up-instances", false);
    properties.put("eureka.instance.appname", start.app());
    properties.put("eureka.instance.instance-id", start.id());
    properties.put("eureka.instance.hostname", start.host());
    properties.put("eureka.instance.ip-address", start.ip());
    properties.put("eureka.instance.non-secure-port", start.port());
    properties.put("eureka.instance.virtual-host-name", start.vip());
    properties.put("eureka.instance.lease-renewal-interval-in-seconds", start.interval());
    properties.put("eureka.instance.lease-expiration-duration-in-seconds", start.duration());
    start
        .metadata()
        .forEach((key, value) -> properties.put("eureka.instance.metadata-map[" + key + "]", value));
    return properties;
  }

  @Override
  public List<InstanceInfo> byApp(String name) {
    Application application = context.getBean(EurekaClient.class).getApplication(name);
    return application == null ? List.of() : application.getInstances();
  }

  @Override
  public List<InstanceInfo> byVip(String vip) {
    return context.getBean(DiscoveryClient.class).getInstances(vip).stream()
        .map(found -> ((EurekaServiceInstance) found).getInstanceInfo())
        .toList();
  }

  @Override
  public void setStatus(String status) {
    registry().setStatus(registration(), status);
  }

  @Override
  public void liftStatus() {
    registry().setStatus(registration(), "CANCEL_OVERRIDE");
  }

  @Override
  public void stop() {
    context.close();
  }

  @SuppressWarnings("unchecked")
  private ServiceRegistry<Registration> registry() {
    return context.getBean(ServiceRegistry.class);
  }

  private Registration registration() {
    return context.getBean(Registration.class);
  }
}
