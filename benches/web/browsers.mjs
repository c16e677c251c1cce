/** Opens a page in a browser of this machine, in a state as if nothing had ever been visited, or with the profile of an earlier visit. */

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { chromium } from 'playwright-core'

/**
 * With the folder `profile` a browser is started for the page and ended with it; what it keeps is there when the next one starts.
 * @typedef {(url: string, complain: (text: string) => void, profile?: string) => Promise<() => Promise<void>>} Open gives what closes the page
 * @typedef {{ version: string, open: Open, close: () => Promise<void> }} Browser
 */

/** What Chromium needs to run as root in a container, and to leave the measurement alone. */
export const CHROMIUM_ARGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** Where Debian installs it; `CHROMIUM` names another one. */
export const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

const FIREFOX = process.env['FIREFOX'] ?? '/usr/bin/firefox-esr'

/** Each page has a context, and so a process, of its own. */
async function launchChromium() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS })
  return /** @type {Browser} */ ({
    version: `Chromium ${browser.version()}`,
    async open(url, complain, profile) {
      const options = { executablePath: CHROMIUM, args: CHROMIUM_ARGS }
      const context = await (profile === undefined ? browser.newContext() : chromium.launchPersistentContext(profile, options))
      const page = await context.newPage()
      page.on('crash', () => complain('the page crashed'))
      page.on('pageerror', (error) => complain(String(error)))
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') process.stderr.write(`  page: ${message.text()}\n`)
      })
      await page.goto(url)
      return () => context.close()
    },
    close: () => browser.close(),
  })
}

const FIREFOX_PREFERENCES = {
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
}

/**
 * Started by hand for every page, with an empty profile: the page needs no remote control, it posts its result.
 * @param {Record<string, boolean | number | string>} more preferences
 */
function launchFirefox(more) {
  return /** @type {Browser} */ ({
    version: 'Firefox',
    async open(url, complain, kept) {
      const profile = kept ?? (await mkdtemp(join(tmpdir(), 'nearside-firefox-')))
      const preferences = Object.entries({ ...FIREFOX_PREFERENCES, ...more }).map(
        ([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`,
      )
      await writeFile(join(profile, 'user.js'), preferences.join('\n'))
      const child = spawn(FIREFOX, ['--headless', '--no-remote', '--profile', profile, url], { stdio: 'ignore' })
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.once('error', (error) => complain(String(error)))
      return async () => {
        child.kill()
        await ended
        if (kept === undefined) await rm(profile, { recursive: true, force: true, maxRetries: 3 })
      }
    },
    close: () => Promise.resolve(),
  })
}

/**
 * @param {string} name
 * @param {Record<string, boolean | number | string>} [preferences] of Firefox
 * @returns {Promise<Browser>}
 */
export async function launch(name, preferences = {}) {
  return name === 'firefox' ? launchFirefox(preferences) : launchChromium()
}
