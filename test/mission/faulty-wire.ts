import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** One connection through the wire. */
export interface WireConnection {
  /** From 1. */
  readonly number: number;
  readonly client: Socket;
  readonly server: Socket;
  /** Bytes that the client has sent on it. */
  sent: number;
}

export interface Wire {
  /** `https://127.0.0.1:PORT`: what is behind it, with its own certificate. */
  readonly url: string;
  connections: number;
  /** Bytes that clients have sent on their largest connection. */
  largest: number;
  /** Called at every connection, and whenever a client has sent something: before it is passed on. */
  fault: ((connection: WireConnection) => void) | undefined;
}

/** A TCP connection to a server, which sees nothing of the TLS inside and may do harm to it. */
export async function faultyWire(to: string): Promise<Wire> {
  const { hostname, port } = new URL(to);
  const open = new Set<Socket>();
  const wire: Wire = { url: '', connections: 0, largest: 0, fault: undefined };
  const listener = createServer({ pauseOnConnect: true }, (client) => {
    const server = connect({ host: hostname, port: Number(port) });
    wire.connections += 1;
    const connection: WireConnection = { number: wire.connections, client, server, sent: 0 };
    for (const socket of [client, server]) {
      open.add(socket);
      const other = socket === client ? server : client;
      socket
        .on('error', () => undefined)
        .on('close', () => {
          open.delete(socket);
          other.destroy();
        });
      socket.on('end', () => other.end());
    }
    wire.fault?.(connection);
    client.on('data', (part: Buffer) => {
      connection.sent += part.length;
      wire.largest = Math.max(wire.largest, connection.sent);
      wire.fault?.(connection);
      if (!server.destroyed && !server.write(part)) {
        client.pause();
        server.once('drain', () => client.resume());
      }
    });
    server.on('data', (part: Buffer) => {
      if (!client.destroyed && !client.write(part)) {
        server.pause();
        client.once('drain', () => server.resume());
      }
    });
    client.resume();
  });
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  onTestFinished(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((done) => listener.close(done));
  });
  return Object.assign(wire, { url: `https://127.0.0.1:${(listener.address() as AddressInfo).port}` });
}
