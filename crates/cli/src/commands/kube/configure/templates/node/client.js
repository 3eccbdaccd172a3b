// A client that shows its own certificate, accepts only a server of our authority, and takes renewed files by
// itself: an agent is made anew when they have changed.
'use strict';
const fs = require('fs');
const https = require('https');

const folder = '{{CLIENT}}';
let agent;
let marker;

function current() {
    const now = fs.readlinkSync(`${folder}/..data`);
    if (now !== marker) {
        const read = (name) => fs.readFileSync(`${folder}/${name}`);
        agent = new https.Agent({
            cert: read('tls.crt'), key: read('tls.key'), ca: read('ca.crt'), minVersion: 'TLSv1.2', keepAlive: true,
        });
        marker = now;
    }
    return agent;
}

https.get('https://{{UPSTREAM}}/', { agent: current() }, (response) => {
    console.log(response.statusCode);
    response.pipe(process.stdout);
    response.on('end', () => agent.destroy());
}).on('error', (error) => {
    console.error(error.message);
    process.exitCode = 1;
});
