import { defineHandler } from 'nitro'
import { endlessSteps, linesOf } from '../../steps.ts'

export default defineHandler(() => linesOf(endlessSteps()))
