import type { Pool } from '../pool/open-pool.js';
import { handlePatchDownload } from './handle-patch-download.js';
import { handlePatchUpload } from './handle-patch-upload.js';
import { handleExportRawVdi, handleImportRawVdi } from './handle-raw-vdi.js';
import type { Route } from './routes.js';
import { endingTask } from './task-of.js';
import type { TaskOwners } from './task-owners.js';

/** That the server lives may be seen by all. */
export const healthRoute: Route = {
  methods: ['GET', 'HEAD'],
  path: '/health',
  needs: 'nothing',
  handle: async (exchange) => exchange.send(200, 'application/json', '{"status":"ok"}\n'),
};

/** The requests with large bodies, with the roles that XAPI asks for, and the only one that is for everybody. */
export function poolRoutes(pool: Pool, owners: TaskOwners): readonly Route[] {
  return [
    {
      methods: ['PUT'],
      path: '/pool_patch_upload',
      needs: 'pool-operator',
      isUpload: true,
      handle: (request) => endingTask(pool, owners, request, () => handlePatchUpload(pool, owners, request)),
    },
    {
      methods: ['GET', 'HEAD'],
      path: '/pool_patch_download',
      needs: 'read-only',
      handle: (request) =>
        endingTask(pool, owners, request, () => handlePatchDownload(pool, owners, request)),
    },
    {
      methods: ['PUT'],
      path: '/import_raw_vdi',
      needs: 'vm-admin',
      isUpload: true,
      handle: (request) => endingTask(pool, owners, request, () => handleImportRawVdi(pool, owners, request)),
    },
    {
      methods: ['GET', 'HEAD'],
      path: '/export_raw_vdi',
      needs: 'vm-admin',
      handle: (request) => endingTask(pool, owners, request, () => handleExportRawVdi(pool, owners, request)),
    },
    healthRoute,
  ];
}
