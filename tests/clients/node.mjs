// undici over HTTP/1.1 and HTTP/2, and a WebSocket over HTTP/2 by node's own client.
// Usage: node.mjs PORT CA. Prints one JSON object per client and case.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { Pool } from 'undici';

const [port, caFile] = process.argv.slice(2);
const ca = readFileSync(caFile);
const base = `https://localhost:${port}`;
const AT_ONCE = 100;

const digest = (data) => createHash('sha256').update(data).digest();
function bodyOf(length, seed = 'shop') {
  const pieces = [];
  let block = digest(seed);
  for (let have = 0; have < length; have += 32) {
    pieces.push(block);
    block = digest(block);
  }
  return Buffer.concat(pieces).subarray(0, length);
}

function same(got, wanted) {
  if (!wanted.equals(got)) throw new Error(`${got.length} bytes are not the ${wanted.length} that were meant`);
}

async function fetched(pool, path, wanted, options = {}) {
  const { status = 200, ...rest } = options;
  const answer = await pool.request({ path, method: 'GET', ...rest });
  const got = Buffer.from(await answer.body.arrayBuffer());
  if (answer.statusCode !== status) throw new Error(`status ${answer.statusCode}`);
  same(got, wanted);
  return answer;
}

const MIB = 1 << 20;
async function* pieces(body) {
  for (let at = 0; at < body.length; at += 9999) yield body.subarray(at, at + 9999);
}

async function mixed(pool) {
  const one = (number) => {
    if (number % 2 === 0) {
      const size = 2000 + 211 * number;
      return fetched(pool, `/bytes/${size}?${number}`, bodyOf(size));
    }
    const body = bodyOf(1000 + 137 * number, `mixed ${number}`);
    return fetched(pool, `/echo?${number}`, body, { method: 'POST', body });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => one(number)));
}

function cases(pool) {
  const all = {};
  for (const [name, size] of [['0 B', 0], ['1 B', 1], ['16 KiB', 16 << 10], ['1 MiB', MIB]]) {
    all[`GET ${name}`] = () => fetched(pool, `/bytes/${size}`, bodyOf(size));
    const body = bodyOf(size, 'echo');
    all[`POST ${name}`] = () => fetched(pool, '/echo', body, { method: 'POST', body });
  }
  const body = bodyOf(MIB, 'pieces');
  all['chunked answer'] = () => fetched(pool, `/chunked/${MIB}`, bodyOf(MIB));
  all['chunked upload'] = () => fetched(pool, '/echo', body, { method: 'POST', body: pieces(body) });
  const headers = { range: 'bytes=1000-2999' };
  all.range = () => fetched(pool, `/range/${MIB}`, bodyOf(MIB).subarray(1000, 3000), { status: 206, headers });
  all.HEAD = () => fetched(pool, `/bytes/${MIB}`, Buffer.alloc(0), { method: 'HEAD' });
  all['204'] = () => fetched(pool, '/none', Buffer.alloc(0), { status: 204 });
  all['behind trailers'] = () => fetched(pool, '/trailers/20000', bodyOf(20000));
  all[`${AT_ONCE} at once`] = () => mixed(pool);
  return all;
}

// RFC 9110 section 6.5: the field behind the body.
function trailers() {
  return new Promise((resolve, reject) => {
    const session = http2.connect(base, { ca });
    const stream = session.request({ ':path': '/trailers/20000' });
    let found;
    stream.on('trailers', (fields) => { found = fields['x-sum']; });
    stream.on('end', () => {
      session.close();
      if (found === '7') resolve(); else reject(new Error(`x-sum: ${found}`));
    });
    stream.on('error', reject);
    stream.resume();
  });
}

// RFC 6455 section 5.2: one masked frame.
function frame(payload) {
  const length = Buffer.alloc(payload.length < 126 ? 2 : 4);
  length[0] = 0x82;
  if (payload.length < 126) length[1] = 0x80 | payload.length;
  else { length[1] = 0x80 | 126; length.writeUInt16BE(payload.length, 2); }
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([length, mask, payload.map((byte, at) => byte ^ mask[at % 4])]);
}

// RFC 8441: twenty WebSockets on one connection, an answer of each as long as what it was sent.
function websockets() {
  return new Promise((resolve, reject) => {
    const session = http2.connect(base, { ca });
    session.on('error', reject);
    session.on('remoteSettings', (settings) => {
      if (!settings.enableConnectProtocol) return reject(new Error('no extended CONNECT'));
      const one = (number) => new Promise((done, failed) => {
        const stream = session.request({
          ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13',
        });
        const sent = bodyOf(5000 + number, `ws ${number}`);
        let got = Buffer.alloc(0);
        stream.on('response', (head) => {
          if (head[':status'] !== 200) failed(new Error(`status ${head[':status']}`));
          stream.write(frame(sent));
        });
        stream.on('data', (data) => {
          got = Buffer.concat([got, data]);
          if (got.length < sent.length + 4) return;
          stream.close();
          if (got.subarray(4).equals(sent)) done(); else failed(new Error('mixed up'));
        });
        stream.on('error', failed);
      });
      Promise.all(Array.from({ length: 20 }, (_, number) => one(number)))
        .then(() => { session.close(); resolve(); }, reject);
    });
  });
}

async function attempt(client, name, work) {
  let error = null;
  const late = new Promise((_, reject) => { setTimeout(() => reject(new Error('too late')), 120_000).unref(); });
  try { await Promise.race([work(), late]); } catch (caught) { error = String(caught); }
  console.log(JSON.stringify({ client, case: name, error }));
}

for (const allowH2 of [false, true]) {
  const pool = new Pool(base, { allowH2, connections: allowH2 ? 2 : 20, connect: { ca } });
  const client = `undici ${allowH2 ? 'h2' : 'h1'}`;
  for (const [name, work] of Object.entries(cases(pool))) await attempt(client, name, work);
  await pool.destroy();
}
await attempt('node h2', 'trailers', trailers);
await attempt('node h2', 'WebSocket (RFC 8441)', websockets);
process.exit(0);
