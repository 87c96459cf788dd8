// Drives eureka-js-client by commands: one JSON object a line on standard input, one answer a line on
// standard output. What the commands mean is in ../README.md.
'use strict';

const readline = require('readline');
const { Eureka } = require('eureka-js-client');

const silent = { debug() {}, info() {}, warn() {}, error() {} };
let client;

const commands = {
  start({ server, app, id, host, ip, port, vip, metadata, interval, duration }, done) {
    const url = new URL(server);
    client = new Eureka({
      logger: silent,
      shouldUseDelta: process.argv.includes('--deltas'),
      instance: {
        app,
        instanceId: id,
        hostName: host,
        ipAddr: ip,
        port: { $: port, '@enabled': 'true' },
        vipAddress: vip,
        metadata,
        leaseInfo: { renewalIntervalInSecs: interval, durationInSecs: duration },
        dataCenterInfo: {
          '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo',
          name: 'MyOwn',
        },
      },
      eureka: {
        host: url.hostname,
        port: url.port,
        heartbeatInterval: interval * 1000,
        registryFetchInterval: 500,
        // Instances that are not up are of interest here.
        filterUpInstances: false,
      },
    });
    client.start((error) => done(error));
  },
  by_app({ app }, done) {
    done(null, client.getInstancesByAppId(app).map(told));
  },
  by_vip({ vip }, done) {
    done(null, client.getInstancesByVipAddress(vip).map(told));
  },
  stop(_, done) {
    client.stop((error) => done(error));
  },
};

function told(instance) {
  // The client hands on the key by which servers mark empty metadata.
  const { '@class': _, ...metadata } = instance.metadata;
  return {
    id: instance.instanceId,
    app: instance.app,
    host: instance.hostName,
    ip: instance.ipAddr,
    port: instance.port.$,
    vip: instance.vipAddress,
    status: instance.status,
    metadata,
  };
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command, (error, answer) => {
    const outcome = error ? { error: String(error) } : { answer: answer || null };
    process.stdout.write(`${JSON.stringify(outcome)}\n`, () => {
      if (command.do === 'stop') process.exit(0);
    });
  });
}).on('close', () => process.exit(0));
