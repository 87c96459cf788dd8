// Drives npm's consul by commands: one JSON object a line on standard input, one answer a line on standard
// output. What the commands mean is in ../README.md.
'use strict';

const { EventEmitter } = require('events');
const readline = require('readline');
const Consul = require('consul');

let consul;
let watch;
let watched;

/** What a read says, with its index: the client hands on the answer's headers as it does to its own watch. */
async function read(method, of, options) {
  const ctx = Object.assign(new EventEmitter(), { includeResponse: true });
  const [response, value] = await method.call(of, { ...defined(options), ctx });
  return { index: Number(response.headers['x-consul-index'] || 0), value: value === undefined ? null : value };
}

/** The client takes what is there and undefined for something. */
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
}

/** Follows a read with the client's own watch. */
function follow(method, of, options) {
  if (watch) watch.end();
  watched = [];
  watch = consul.watch({ method: method.bind({ consul }), options: { ...options, wait: '20s' }, backoffFactor: 50 });
  watch.on('change', (value) => watched.push(value === undefined ? null : value));
  watch.on('error', () => {}); // It tries again by itself.
}

const commands = {
  start({ server }) {
    const { hostname, port } = new URL(server);
    consul = new Consul({ host: hostname, port: Number(port) });
  },
  register: ({ id, service, tags, meta, address, port, checks }) =>
    consul.agent.service.register({ id, name: service, tags, meta, address, port, checks }),
  deregister: ({ id }) => consul.agent.service.deregister(id),
  register_check: ({ id, name, service_id, ttl }) =>
    consul.agent.check.register({ id, name, serviceid: service_id, ttl }),
  deregister_check: ({ id }) => consul.agent.check.deregister(id),
  pass: ({ check, note }) => consul.agent.check.pass(defined({ id: check, note })),
  warn: ({ check, note }) => consul.agent.check.warn(defined({ id: check, note })),
  fail: ({ check, note }) => consul.agent.check.fail(defined({ id: check, note })),
  maintain: ({ id, enable, reason }) => consul.agent.service.maintenance(defined({ id, enable, reason })),
  maintain_node: ({ enable, reason }) => consul.agent.maintenance(defined({ enable, reason })),

  datacenters: () => consul.catalog.datacenters(),
  nodes: () => read(consul.catalog.node.list, consul.catalog.node, {}),
  node: ({ node }) => read(consul.catalog.node.services, consul.catalog.node, { node }),
  services: () => read(consul.catalog.service.list, consul.catalog.service, {}),
  catalog_service: ({ service, tag }) =>
    read(consul.catalog.service.nodes, consul.catalog.service, { service, tag }),
  health_service: ({ service, tag, passing, index, wait }) =>
    read(consul.health.service, consul.health, { service, tag, passing, index, wait }),
  health_checks: ({ service }) => read(consul.health.checks, consul.health, { service }),
  health_node: ({ node }) => read(consul.health.node, consul.health, { node }),
  health_state: ({ state }) => read(consul.health.state, consul.health, { state }),
  agent_self: () => consul.agent.self(),
  agent_members: () => consul.agent.members(),
  agent_services: () => consul.agent.services(),
  agent_checks: () => consul.agent.checks(),
  leader: () => consul.status.leader(),
  peers: () => consul.status.peers(),

  kv_get: ({ key, index, wait }) => read(consul.kv.get, consul.kv, { key, index, wait }),
  kv_list: ({ prefix }) => read(consul.kv.get, consul.kv, { key: prefix, recurse: true }),
  async kv_keys({ prefix, separator }) {
    try {
      return await read(consul.kv.keys, consul.kv, { key: prefix, separator });
    } catch (error) {
      // The client takes a missing key for none, but missing keys for an error.
      if (!error.response || error.response.statusCode !== 404) throw error;
      return { index: Number(error.response.headers['x-consul-index']), value: null };
    }
  },
  // The client makes undefined of the server's `false`.
  kv_put: async ({ key, value, flags, cas }) =>
    (await consul.kv.set(defined({ key, value, flags, cas }))) === true,
  kv_delete: async ({ key, recurse, cas }) =>
    (await consul.kv.del(defined({ key, recurse, cas }))) === true,

  session: ({ ttl }) => consul.session.create({ ttl }).then(({ ID }) => ID),
  destroy_session: ({ session }) => consul.session.destroy(session),
  lock: async ({ key, value, session }) => (await consul.kv.set({ key, value, acquire: session })) === true,
  transact: async ({ operations }) => (await consul.transaction.create(operations)).Results,
  fire: ({ name, payload }) => consul.event.fire(name, payload).then(({ ID }) => ID),
  async events({ name }) {
    const found = await read(consul.event.list, consul.event, { name });
    // Which the client does itself where it does not hand on the answer's headers.
    for (const event of found.value) event.Payload = Buffer.from(event.Payload, 'base64').toString();
    return found;
  },

  watch_service: ({ service }) => follow(consul.health.service, consul.health, { service }),
  watch_key: ({ key }) => follow(consul.kv.get, consul.kv, { key }),
  watched: () => watched,
};

async function answer(line) {
  const command = JSON.parse(line);
  let outcome;
  try {
    const value = await commands[command.do](command);
    outcome = { answer: value === undefined ? null : value };
  } catch (error) {
    outcome = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}

let last = Promise.resolve();
readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    last = last.then(() => answer(line));
  })
  .on('close', () => process.exit(0));
