// node's cluster: one process accepts, and passes the connections to those that serve them (SCM_RIGHTS).
const cluster = require('cluster');

cluster.schedulingPolicy = cluster.SCHED_RR;
if (process.argv[2] === 'server' && cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
} else {
  require('./http.js');
}
