// A server that lets in only clients with a certificate of our authority, and takes renewed files by itself.
'use strict';
const fs = require('fs');
const https = require('https');

const folder = '{{SERVER}}';

function files() {
    const read = (name) => fs.readFileSync(`${folder}/${name}`);
    return { cert: read('tls.crt'), key: read('tls.key'), ca: read('ca.crt'), minVersion: 'TLSv1.2' };
}

const server = https.createServer(
    { ...files(), requestCert: true, rejectUnauthorized: true },
    (request, response) => response.end(`hello, ${request.socket.getPeerCertificate().subject.CN}\n`),
);
// kubelet swaps the link ..data: a watch of the folder sees that, a watch of tls.crt does not.
let pending;
fs.watch(folder, () => {
    clearTimeout(pending);
    pending = setTimeout(() => {
        try {
            server.setSecureContext(files());
        } catch (error) {
            console.error(`the renewed certificate is not used: ${error.message}`);
        }
    }, 200);
});
server.listen({{LISTEN}});
