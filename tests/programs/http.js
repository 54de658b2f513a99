// node's http server and client, with keep-alive, and digests of what goes either way.
const http = require('http');
const crypto = require('crypto');
const [role, port, , count] = process.argv.slice(2);
const digest = (octets) => crypto.createHash('sha256').update(octets).digest('hex');

if (role === 'server') {
  http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const octets = Buffer.concat(parts);
      response.setHeader('digest', digest(octets));
      response.end(octets);
    });
  }).listen(Number(port), '127.0.0.1');
} else {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number(count) });
  const one = (size) => new Promise((done, wrong) => {
    const octets = crypto.randomBytes(size);
    const request = http.request({ agent, host: '127.0.0.1', port, method: 'POST' }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        const same = Buffer.concat(parts).equals(octets) && response.headers.digest === digest(octets);
        same ? done() : wrong(new Error('something else'));
      });
    });
    request.on('error', wrong);
    request.end(octets);
  });
  const all = [];
  for (let i = 0; i < 4 * Number(count); i++) all.push(one([1, 3000, 400000][i % 3]));
  Promise.all(all).then(() => agent.destroy(), (error) => { console.error(error); process.exit(1); });
}
