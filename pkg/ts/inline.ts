/** The whole package in one file that never calls `import()`, which service workers refuse. */

export * from './index.js'
