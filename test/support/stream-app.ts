import type { LoadedApp } from '../../src/workers/worker/worker-config.ts'
import app from '../full/streams/app.ts'

/** The app that streams, for workers. */
export default function load(): LoadedApp {
  return { handler: app }
}
