import { app } from './app.mjs'

/** What each worker of workers.mjs serves. */
export default () => ({ handler: app })
