import { readFileSync } from 'node:fs'
import { defineConfig } from 'rolldown'

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>
  readonly bin: Readonly<Record<string, string>>
}

const { exports, bin }: Manifest = JSON.parse(readFileSync('package.json', 'utf8'))
/** What users import and run. */
const published = [...Object.values(exports), ...Object.values(bin)]
  .map((target) => (typeof target === 'string' ? target : target.default))
  .flatMap((target) => /^\.\/dist\/(.*)\.js$/.exec(target)?.[1] ?? [])

/** Where other processes and threads start (`ownModule`), and what the scripts of the checkout import. */
const started = [
  'src/workers/worker/process',
  'src/workers/worker/thread-main',
  'src/cli/direct/child',
  'src/cli/dev/dev-app',
  'src/cli/modules/caught-servers',
  'src/cli/modules/import-module',
  'src/cli/modules/load-handler',
  'src/cli/modules/module-kind',
  'src/cli/modules/worker-app',
  'src/mongrel2/load-config',
  'src/runtime/process/orphan-guard',
]

/** A few files instead of 250, of which Node would find, read and link each. What several entries use is in files that they share. */
export default defineConfig({
  input: Object.fromEntries([...new Set([...published, ...started])].map((entry) => [entry, `${entry}.ts`])),
  platform: 'node',
  transform: { target: 'node20' },
  // Packages and Node's modules, but not the bundler's own helpers.
  external: /^(?!@oxc-project)[^./\0]/,
  output: {
    dir: 'dist',
    cleanDir: true,
    chunkFileNames: 'chunks/[name]-[hash].js',
    // Each with what it imports that no group before it has.
    codeSplitting: {
      groups: [
        { name: 'base', test: /src\/(?:runtime|options)\// },
        { name: 'serve', test: /src\/(?:serve|replier)\.ts$/ },
        { name: 'workers', test: /src\/cluster\/(?:serve-with-workers|join-cluster)\.ts$/ },
      ],
    },
    sourcemap: true,
    sourcemapExcludeSources: true,
    // The text is in the sources, which the package has.
    comments: false,
  },
})
