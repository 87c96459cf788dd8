package larder.interop;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.EurekaAccept;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.EurekaClientConfig;
import com.netflix.discovery.Jersey3DiscoveryClientOptionalArgs;
import com.netflix.discovery.shared.Application;
import com.netflix.discovery.shared.resolver.DefaultEndpoint;
import com.netflix.discovery.shared.transport.EurekaHttpClient;
import com.netflix.discovery.shared.transport.EurekaHttpResponse;
import com.netflix.discovery.shared.transport.jersey3.Jersey3TransportClientFactories;
import jakarta.ws.rs.client.ClientRequestFilter;
import java.util.List;
import java.util.Map;

/** Drives Netflix's own client; with {@code --compact} it asks for the compact form. */
public final class NetflixClient implements Commands.Client {
  private final EurekaAccept accept;
  private DiscoveryClient client;
  private EurekaHttpClient transport;
  private InstanceInfo own;

  private NetflixClient(EurekaAccept accept) {
    this.accept = accept;
  }

  public static void main(String[] arguments) throws Exception {
    boolean compact = List.of(arguments).contains("--compact");
    Commands.answer(new NetflixClient(compact ? EurekaAccept.compact : EurekaAccept.full));
  }

  @Override
  public void start(Commands.Start start) {
    InstanceConfig instance = new InstanceConfig(start);
    own = new EurekaConfigBasedInstanceInfoProvider(instance).get();
    EurekaClientConfig config = new ClientConfig(start.server(), accept);
    Jersey3TransportClientFactories factories = new Jersey3TransportClientFactories();
    Jersey3DiscoveryClientOptionalArgs filters = new Jersey3DiscoveryClientOptionalArgs();
    filters.setAdditionalFilters(List.of(asksForOneForm()));
    // Returns when it has registered and read the registry: the configuration says so.
    client =
        new DiscoveryClient(new ApplicationInfoManager(instance, own), config, factories, filters);
    // For what the client does not offer but its transport does.
    transport =
        factories
            .newTransportClientFactory(config, List.of(), own)
            .newClient(new DefaultEndpoint(start.server() + "/"));
  }

  /**
   * Over Jersey 3 the client asks for {@code [compact]}, the text of a list, which Netflix's server
   * takes for the full form. This asks as clients over Jersey 1 do.
   */
  private ClientRequestFilter asksForOneForm() {
    List<Object> form = List.of(accept.name());
    return request ->
        request
            .getHeaders()
            .computeIfPresent(EurekaAccept.HTTP_X_EUREKA_ACCEPT, (name, asked) -> form);
  }

  @Override
  public List<InstanceInfo> byApp(String name) {
    Application application = client.getApplication(name);
    return application == null ? List.of() : application.getInstances();
  }

  @Override
  public List<InstanceInfo> byVip(String vip) {
    return client.getInstancesByVipAddress(vip, false);
  }

  @Override
  public void setStatus(String status) {
    expectOk(
        transport.statusUpdate(
            own.getAppName(), own.getId(), InstanceStatus.valueOf(status), own));
  }

  @Override
  public void liftStatus() {
    expectOk(transport.deleteStatusOverride(own.getAppName(), own.getId(), own));
  }

  @Override
  public void stop() {
    transport.shutdown();
    client.shutdown();
  }

  private static void expectOk(EurekaHttpResponse<Void> response) {
    if (response.getStatusCode() != 200) {
      throw new IllegalStateException("answered " + response.getStatusCode());
    }
  }

  private static final class ClientConfig extends DefaultEurekaClientConfig {
    private final String server;
    private final EurekaAccept accept;

    ClientConfig(String server, EurekaAccept accept) {
      this.server = server;
      this.accept = accept;
    }

    @Override
    public List<String> getEurekaServerServiceUrls(String zone) {
      return List.of(server + "/");
    }

    @Override
    public String getClientDataAccept() {
      return accept.name();
    }

    @Override
    public int getRegistryFetchIntervalSeconds() {
      return 1;
    }

    @Override
    public boolean shouldFilterOnlyUpInstances() {
      return false; // Instances that are not up are of interest here.
    }

    @Override
    public boolean shouldEnforceRegistrationAtInit() {
      return true;
    }

    @Override
    public boolean shouldEnforceFetchRegistryAtInit() {
      return true;
    }
  }

  private static final class InstanceConfig extends MyDataCenterInstanceConfig {
    private final Commands.Start start;

    InstanceConfig(Commands.Start start) {
      this.start = start;
    }

    @Override
    public String getAppname() {
      return start.app();
    }

    @Override
    public String getInstanceId() {
      return start.id();
    }

    @Override
    public String getHostName(boolean refresh) {
      return start.host();
    }

    @Override
    public String getIpAddress() {
      return start.ip();
    }

    @Override
    public int getNonSecurePort() {
      return start.port();
    }

    @Override
    public String getVirtualHostName() {
      return start.vip();
    }

    @Override
    public Map<String, String> getMetadataMap() {
      return start.metadata();
    }

    @Override
    public int getLeaseRenewalIntervalInSeconds() {
      return start.interval();
    }

    @Override
    public int getLeaseExpirationDurationInSeconds() {
      return start.duration();
    }

    @Override
    public boolean isInstanceEnabledOnit() {
      return true;
    }
  }
}
