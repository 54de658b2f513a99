// The JVM's sockets: a server with a thread for each connection, or by a selector; clients of both kinds.
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.security.MessageDigest;
import java.util.*;

public class Echo {
    static int port;

    public static void main(String[] arguments) throws Exception {
        port = Integer.parseInt(arguments[1]);
        if (arguments[0].equals("server")) {
            if (port % 2 == 0) {
                threads();
            } else {
                selector();
            }
        }
        int count = Integer.parseInt(arguments[3]);
        List<Thread> clients = new ArrayList<>();
        List<Throwable> wrong = Collections.synchronizedList(new ArrayList<>());
        for (int i = 0; i < count; i++) {
            boolean blocking = i % 2 == 0;
            Thread client = new Thread(() -> {
                try {
                    byte[] octets = new byte[300000];
                    new Random().nextBytes(octets);
                    byte[] got = blocking ? streams(octets) : channel(octets);
                    if (!MessageDigest.isEqual(octets, got)) {
                        throw new IOException("something else");
                    }
                } catch (Throwable error) {
                    wrong.add(error);
                }
            });
            client.start();
            clients.add(client);
        }
        for (Thread client : clients) {
            client.join();
        }
        closedMeanwhile();
        if (!wrong.isEmpty()) {
            wrong.get(0).printStackTrace();
            System.exit(1);
        }
    }

    static void threads() throws IOException {
        ServerSocket listener = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"));
        for (;;) {
            Socket socket = listener.accept();
            new Thread(() -> {
                try (socket) {
                    socket.getInputStream().transferTo(socket.getOutputStream());
                } catch (IOException error) {
                    // The client has gone.
                }
            }).start();
        }
    }

    static void selector() throws IOException {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", port));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        for (;;) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                try {
                    if (key.isAcceptable()) {
                        SocketChannel channel = listener.accept();
                        channel.configureBlocking(false);
                        channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
                        continue;
                    }
                    SocketChannel channel = (SocketChannel) key.channel();
                    ByteBuffer octets = (ByteBuffer) key.attachment();
                    int got = key.isReadable() ? channel.read(octets) : 0;
                    octets.flip();
                    channel.write(octets);
                    octets.compact();
                    if (got < 0 && octets.position() == 0) {
                        channel.close();
                    } else {
                        boolean full = octets.position() > 0;
                        key.interestOps((octets.hasRemaining() && got >= 0 ? SelectionKey.OP_READ : 0)
                                | (full ? SelectionKey.OP_WRITE : 0));
                    }
                } catch (IOException error) {
                    key.channel().close();
                }
            }
            selector.selectedKeys().clear();
        }
    }

    static byte[] streams(byte[] octets) throws Exception {
        try (Socket socket = new Socket("127.0.0.1", port)) {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(20000);
            Thread writer = new Thread(() -> {
                try {
                    socket.getOutputStream().write(octets);
                    socket.shutdownOutput();
                } catch (IOException error) {
                    error.printStackTrace();
                }
            });
            writer.start();
            byte[] got = socket.getInputStream().readAllBytes();
            writer.join();
            return got;
        }
    }

    static byte[] channel(byte[] octets) throws Exception {
        Selector selector = Selector.open();
        SocketChannel channel = SocketChannel.open();
        channel.configureBlocking(false);
        channel.register(selector, SelectionKey.OP_CONNECT);
        channel.connect(new InetSocketAddress("127.0.0.1", port));
        ByteBuffer out = ByteBuffer.wrap(octets), in = ByteBuffer.allocate(octets.length);
        while (in.hasRemaining()) {
            if (selector.select(20000) == 0) {
                throw new IOException("nothing comes");
            }
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.isConnectable() && channel.finishConnect()) {
                    key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
                }
                if (key.isValid() && key.isWritable()) {
                    channel.write(out);
                    if (!out.hasRemaining()) {
                        channel.shutdownOutput();
                        key.interestOps(SelectionKey.OP_READ);
                    }
                }
                if (key.isValid() && key.isReadable() && channel.read(in) < 0) {
                    throw new IOException("an early end");
                }
            }
            selector.selectedKeys().clear();
        }
        if (channel.read(ByteBuffer.allocate(1)) > 0) {
            throw new IOException("more than was sent");
        }
        channel.close();
        selector.close();
        return in.array();
    }

    // A socket that is closed while another thread reads from it: that one is woken.
    static void closedMeanwhile() throws Exception {
        Socket socket = new Socket("127.0.0.1", port);
        socket.getOutputStream().write(1);
        socket.getInputStream().read();
        Thread reader = new Thread(() -> {
            try {
                socket.getInputStream().read();
                System.err.println("a closed socket was read from");
                System.exit(1);
            } catch (IOException error) {
                // As it has to be.
            }
        });
        reader.start();
        Thread.sleep(200);
        socket.close();
        reader.join();
    }
}
