/** The commands, each of which is loaded when it is called. */

export interface Command {
  /** Runs the command with its arguments; gives the exit status. */
  readonly run: (args: string[]) => Promise<number>
}

export const COMMANDS: { readonly [name: string]: { readonly summary: string; readonly load: () => Promise<Command> } } = {
  compile: {
    summary: 'Compile an ONNX model to a plan, which pages load without the compiler',
    load: () => import('./compile.js'),
  },
  inspect: {
    summary: "Print a model's inputs, outputs and operators, and what the compiler did",
    load: () => import('./inspect.js'),
  },
  run: { summary: 'Run a model here and print its outputs', load: () => import('./run.js') },
  'serve-static': { summary: 'Serve a folder, to try a page', load: () => import('./serve-static.js') },
}
