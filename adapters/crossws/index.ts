export { type CrosswsApp, type CrosswsOptions, crossws } from './crossws.ts'
