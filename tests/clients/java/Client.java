// The Java client of the black-box tests: JSSE, one source file, run as `java Client.java PORT NAME VERSION [P12]`.
//
// It opens one TLS connection to 127.0.0.1, writes a request, reads to the end and prints what came, then, after
// a line "--", the error that ended it, if any. The server is not verified: it is the one under test.

import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedKeyManager;
import javax.net.ssl.X509TrustManager;

public class Client {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        KeyManager[] keys = arguments.length > 3 ? new KeyManager[] {new Insists(load(arguments[3]))} : null;
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys, new TrustManager[] {new Anyone()}, null);
        StringBuilder read = new StringBuilder();
        String error = "";
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
            socket.setSoTimeout(10_000);
            socket.setEnabledProtocols(new String[] {arguments[2]});
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName(arguments[1])));
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            String request = "GET / HTTP/1.1\r\nHost: " + arguments[1] + "\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes());
            InputStream in = socket.getInputStream();
            byte[] buffer = new byte[8192];
            for (int n; (n = in.read(buffer)) > 0; ) {
                read.append(new String(buffer, 0, n));
            }
        } catch (Exception e) {
            error = e.toString();
        }
        System.out.println(read + "\n--\n" + error);
    }

    private static X509ExtendedKeyManager load(String file) throws Exception {
        char[] password = "changeit".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(store, password);
        return (X509ExtendedKeyManager) factory.getKeyManagers()[0];
    }

    /** Shows its certificate whatever authorities the server names: a polite client would hide the refusal. */
    private static final class Insists extends X509ExtendedKeyManager {
        private final X509ExtendedKeyManager inner;

        Insists(X509ExtendedKeyManager inner) {
            this.inner = inner;
        }

        public String chooseClientAlias(String[] types, java.security.Principal[] issuers, java.net.Socket socket) {
            for (String type : types) {
                String[] aliases = inner.getClientAliases(type, null);
                if (aliases != null && aliases.length > 0) {
                    return aliases[0];
                }
            }
            return null;
        }

        public String[] getClientAliases(String type, java.security.Principal[] issuers) {
            return inner.getClientAliases(type, null);
        }

        public String[] getServerAliases(String type, java.security.Principal[] issuers) {
            return null;
        }

        public String chooseServerAlias(String type, java.security.Principal[] issuers, java.net.Socket socket) {
            return null;
        }

        public X509Certificate[] getCertificateChain(String alias) {
            return inner.getCertificateChain(alias);
        }

        public java.security.PrivateKey getPrivateKey(String alias) {
            return inner.getPrivateKey(alias);
        }
    }

    private static final class Anyone implements X509TrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}

        public void checkServerTrusted(X509Certificate[] chain, String type) {}

        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
