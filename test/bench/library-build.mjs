// What the server does with an upload, without the server: standard input -> image, with its digest and its clear text.
//   node library-build.mjs KEYRING CONTENT-LENGTH IMAGE CLEAR-TEXT
import { buildPatchImage } from '../../dist/index.js';

const [keyring, length, image, clearTextPath] = process.argv.slice(2);
await buildPatchImage({
  source: { fd: 0 },
  contentLength: Number(length),
  sink: image,
  format: 'raw',
  unzip: false,
  verify: { signature: { keyrings: [keyring] } },
  digest: true,
  clearTextPath,
});
