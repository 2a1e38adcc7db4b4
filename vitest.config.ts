import { defineConfig } from 'vitest/config';

// oxlint-disable-next-line import/no-default-export -- vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real programs do the judging: formatting, mounting, making keys.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // More workers than cores would only wait for each other.
    maxWorkers: 2,
    allowOnly: false,
    passWithNoTests: false,
  },
});
