// What Spring Boot does with the PEM files of a bundle, in plain Java: a key store of tls.crt and tls.key, a trust
// store of ca.crt, and from them a server that needs client certificates, or a client.
// Usage: Store server DIR PORT | Store client DIR URL
import com.sun.net.httpserver.*;
import java.net.*;
import java.net.http.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

public class Store {
    static SSLContext context(Path dir) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        String pem = Files.readString(dir.resolve("tls.key")).replaceAll("-----[^-]*-----|\\s", "");
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(
            new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(null, null);
        try (var in = Files.newInputStream(dir.resolve("tls.crt"))) {
            keys.setKeyEntry("ssl", key, new char[0],
                factory.generateCertificates(in).toArray(new java.security.cert.Certificate[0]));
        }
        KeyStore trust = KeyStore.getInstance("PKCS12");
        trust.load(null, null);
        try (var in = Files.newInputStream(dir.resolve("ca.crt"))) {
            int count = 0;
            for (var each : factory.generateCertificates(in)) trust.setCertificateEntry("ssl-" + count++, each);
        }
        KeyManagerFactory k = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        k.init(keys, new char[0]);
        TrustManagerFactory t = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        t.init(trust);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(k.getKeyManagers(), t.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] words) throws Exception {
        Path dir = Path.of(words[1]);
        if (words[0].equals("client")) {
            HttpClient client = HttpClient.newBuilder().sslContext(context(dir)).build();
            System.out.print(client.send(HttpRequest.newBuilder(URI.create(words[2])).build(),
                HttpResponse.BodyHandlers.ofString()).body());
            return;
        }
        HttpsServer server = HttpsServer.create(new InetSocketAddress(Integer.parseInt(words[2])), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context(dir)) {
            @Override public void configure(HttpsParameters parameters) {
                SSLParameters wanted = getSSLContext().getDefaultSSLParameters();
                wanted.setNeedClientAuth(true);
                wanted.setProtocols(new String[] {"TLSv1.3", "TLSv1.2"});
                parameters.setSSLParameters(wanted);
            }
        });
        server.createContext("/", exchange -> {
            byte[] body = ("hello, " + ((HttpsExchange) exchange).getSSLSession().getPeerPrincipal() + "\n").getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
