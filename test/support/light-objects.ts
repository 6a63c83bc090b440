// A setup file of test runs with LIGHT=1: they have our Request and Response in the globals' place throughout.

import { replaceGlobalsFirst } from '../../src/platform/globals.ts'

replaceGlobalsFirst()
