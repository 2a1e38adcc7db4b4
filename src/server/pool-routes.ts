import type { Pool } from '../pool/open-pool.js';
import { handlePatchDownload } from './handle-patch-download.js';
import { handlePatchUpload } from './handle-patch-upload.js';
import { handleExportRawVdi, handleImportRawVdi } from './handle-raw-vdi.js';
import type { Route } from './routes.js';

/** The requests with large bodies, with the roles that XAPI asks for, and the only one that is for everybody. */
export function poolRoutes(pool: Pool): readonly Route[] {
  return [
    {
      methods: ['PUT'],
      path: '/pool_patch_upload',
      needs: 'pool-operator',
      isUpload: true,
      handle: (request) => handlePatchUpload(pool, request),
    },
    {
      methods: ['GET', 'HEAD'],
      path: '/pool_patch_download',
      needs: 'read-only',
      handle: (request) => handlePatchDownload(pool, request),
    },
    {
      methods: ['PUT'],
      path: '/import_raw_vdi',
      needs: 'vm-admin',
      isUpload: true,
      handle: (request) => handleImportRawVdi(pool, request),
    },
    {
      methods: ['GET', 'HEAD'],
      path: '/export_raw_vdi',
      needs: 'vm-admin',
      handle: (request) => handleExportRawVdi(pool, request),
    },
    {
      methods: ['GET', 'HEAD'],
      path: '/health',
      needs: 'nothing',
      handle: async (exchange) => exchange.send(200, 'application/json', '{"status":"ok"}\n'),
    },
  ];
}
