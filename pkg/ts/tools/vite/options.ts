/** Options of the plugin. */
export interface NearsideOptions {
  /**
   * Where declarations of imported models go: `true` (the default) puts `digits.onnx.d.ts` beside `digits.onnx`; the name of a folder, from
   * Vite's root, puts them there, as below the root (name it in `rootDirs` of `tsconfig.json`); `false` writes none.
   */
  readonly types?: boolean | string | undefined
  /** Folder in which plans are kept from build to build. Default `node_modules/.cache/nearside`. */
  readonly cacheDir?: string | undefined
}
