export { createFront, type Front } from './create-front.ts'
export type { FrontOptions, FrontRoute, FrontSettings } from './options.ts'
