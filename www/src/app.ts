/** The page at work: every change of the drawing asks both sides, and whatever they answer is measured and shown. */

import { CloudSide } from './cloud-side'
import type { CloudState } from './cloud'
import { type ColdStart, describeColdStart, recordColdStart } from './coldstart'
import { Comparison, describeCompared } from './comparison'
import { byId, setText } from './dom'
import { type Drawing, Rasterizer } from './drawing'
import { askEdge, type Call, type Edge } from './edge'
import { formatMs, sentenceOf } from './format'
import { prepare } from './ink'
import { LatestWins } from './latest'
import { describeConditions, type Experiment, isSimulated, writeQuery } from './network'
import { Series } from './stats'
import { type Facts, type Line, verdict } from './verdict'
import { AnatomyView } from './views/anatomy'
import { AnswersView, type Shown, type SideName, toShown } from './views/answers'
import { PercentilesView } from './views/percentiles'
import { PlotView } from './views/plot'
import { VerdictView } from './views/verdict-table'
import { WaterfallView } from './views/waterfall'

/** Tables and charts follow the measurements no faster than this, in milliseconds. */
const STATISTICS_PACE = 100

/** So long after the last change an answer is read out, in milliseconds. */
const SPEECH_DELAY = 700

/** A drawing on its way to a side; a side without a drawing is only asked whether it is there. */
interface Question {
  readonly drawing: number
  readonly image: Float32Array | undefined
}

export class App {
  readonly #edge: Promise<Edge>
  readonly #cloud: CloudSide
  readonly #edgeQueue = new LatestWins<Question>((question) => this.#askEdge(question))
  readonly #cloudQueue = new LatestWins<Question>((question) => this.#askCloud(question))
  readonly #rasterizer = new Rasterizer()
  readonly #comparison = new Comparison()
  readonly #edgeSeries = new Series<Call>()
  readonly #answers = new AnswersView()
  readonly #plot = new PlotView()
  readonly #percentiles = new PercentilesView()
  readonly #anatomy = new AnatomyView()
  readonly #verdict = new VerdictView()
  readonly #shown: { [S in SideName]: Shown | undefined } = { edge: undefined, cloud: undefined }
  #question: Question = { drawing: 0, image: undefined }
  /** Answers to drawings before this one are measured, but no longer shown. */
  #showFrom = 0
  #coldStart: ColdStart | undefined
  #offlineReady = false
  #pricePerHour: number | undefined
  #statistics: ReturnType<typeof setTimeout> | undefined
  #speech: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(edge: Promise<Edge>, page: string, experiment: Experiment) {
    this.#edge = edge
    this.#cloud = new CloudSide(page, experiment, (state) => {
      this.#cloudBecame(state)
    })
    this.#updateStatistics()
    this.#cloudQueue.submit(this.#question)
    edge.then(
      (loaded) => {
        this.#edgeBecameReady(loaded)
      },
      (error: unknown) => {
        this.#answers.state('edge', `The model did not load. ${sentenceOf(error)}`, true)
      },
    )
  }

  /** The drawing changed. */
  draw(drawing: Drawing): void {
    const image = prepare(this.#rasterizer.raster(drawing))
    this.#question = { drawing: this.#question.drawing + 1, image }
    if (image === undefined) {
      this.#erase()
      return
    }
    this.#edgeQueue.submit(this.#question)
    if (this.#cloud.state.kind !== 'failed') this.#cloudQueue.submit(this.#question)
  }

  /** Another network or another model of the cloud. */
  change(experiment: Experiment): void {
    if (experiment.model !== this.#cloud.experiment.model) this.#comparison.reset()
    this.#cloud.change(experiment)
    this.#show('cloud', undefined)
    this.#askAgain()
    this.#statisticsLater()
  }

  /** The server's price per hour, in dollars, as the visitor assumes it; `undefined` for what is no price. */
  assume(pricePerHour: number | undefined): void {
    this.#pricePerHour = pricePerHour
    this.#statisticsLater()
  }

  /** The browser says that the network came or went. */
  recheck(): void {
    this.change(this.#cloud.experiment)
  }

  keptForOffline(): void {
    this.#offlineReady = true
    setText(byId('offline-note', HTMLElement), 'This page is kept on this device: it opens without a network.')
    this.#statisticsLater()
  }

  /** All that is known now. */
  report(): { facts: Facts; lines: Line[]; coldStart: ColdStart | undefined } {
    const facts = this.#facts()
    return { facts, lines: verdict(facts), coldStart: this.#coldStart }
  }

  /** The query that repeats the experiment. */
  get query(): string {
    return writeQuery(this.#cloud.experiment)
  }

  #erase(): void {
    this.#edgeQueue.clear()
    this.#cloudQueue.clear()
    this.#showFrom = this.#question.drawing
    this.#show('edge', undefined)
    this.#show('cloud', undefined)
    const alone = this.#cloud.state.kind === 'failed'
    this.#answers.agreement(alone ? 'Only this device answers now.' : 'Both see the same drawing, as 28 × 28 numbers.')
    this.#speakLater()
  }

  async #askEdge({ drawing, image }: Question): Promise<void> {
    if (image === undefined) return
    try {
      const { model } = await this.#edge
      const { logits, call } = await askEdge(model, image)
      this.#edgeSeries.add(call)
      this.#answered('edge', drawing, logits, call.total)
    } catch (error) {
      this.#answers.state('edge', `The model did not answer. ${sentenceOf(error)}`, true)
    }
  }

  async #askCloud({ drawing, image }: Question): Promise<void> {
    const answer = await this.#cloud.ask(image)
    if (answer === undefined) this.#statisticsLater()
    else this.#answered('cloud', drawing, answer.logits, answer.call.total)
  }

  #answered(side: SideName, drawing: number, logits: Float32Array, total: number): void {
    const compared = this.#comparison.add(side, drawing, logits)
    this.#statisticsLater()
    if (drawing < this.#showFrom) return
    this.#show(side, toShown(logits, total))
    if (compared !== undefined) this.#answers.agreement(describeCompared(compared))
    this.#speakLater()
  }

  #show(side: SideName, answer: Shown | undefined): void {
    this.#shown[side] = answer
    this.#answers.show(side, answer)
  }

  #edgeBecameReady({ model, loadStart, firstAnswer }: Edge): void {
    const downloads = performance.getEntriesByType('resource') as PerformanceResourceTiming[]
    this.#coldStart = describeColdStart(model.timings, model.engine, downloads, loadStart, firstAnswer)
    recordColdStart(this.#coldStart)
    new WaterfallView().show(this.#coldStart)
    this.#answers.state('edge', 'Ready. What you draw stays here.', false)
    this.#statisticsLater()
  }

  #cloudBecame(state: CloudState): void {
    clearTimeout(this.#retry)
    switch (state.kind) {
      case 'connecting':
        this.#answers.state('cloud', 'Connecting…', false)
        break
      case 'ready': {
        const { conditions } = this.#cloud.experiment
        const network = isSimulated(conditions) ? `Simulated: ${describeConditions(conditions)}.` : 'Network as it is.'
        this.#answers.state('cloud', `Connected in ${formatMs(state.connectMs)}. ${network}`, false)
        break
      }
      case 'failed': {
        this.#answers.state('cloud', `${state.sentence} This device goes on.`, true)
        this.#show('cloud', undefined)
        this.#answers.agreement('Only this device answers now.')
        const wait = state.retryAt - performance.now()
        if (Number.isFinite(wait))
          this.#retry = setTimeout(
            () => {
              this.#askAgain()
            },
            Math.max(0, wait) + 5,
          )
        this.#speakLater()
      }
    }
    this.#statisticsLater()
  }

  /** Asks the cloud about the drawing of this moment, or whether it is there. */
  #askAgain(): void {
    this.#cloudQueue.submit(this.#question)
  }

  #speakLater(): void {
    clearTimeout(this.#speech)
    this.#speech = setTimeout(() => {
      const { edge, cloud } = this.#shown
      this.#answers.describeBars(edge, cloud)
      const { state } = this.#cloud
      const far = cloud !== undefined ? `The cloud says ${cloud.digit}.` : state.kind === 'failed' ? state.sentence : ''
      this.#answers.speak(
        edge === undefined ? (state.kind === 'failed' ? state.sentence : '') : `This device says ${edge.digit}. ${far}`,
      )
    }, SPEECH_DELAY)
  }

  #statisticsLater(): void {
    if (this.#statistics !== undefined) return
    this.#statistics = setTimeout(() => {
      this.#statistics = undefined
      this.#updateStatistics()
    }, STATISTICS_PACE)
  }

  #updateStatistics(): void {
    const { series, failed } = this.#cloud.record
    this.#plot.update(this.#edgeSeries, series, failed)
    this.#percentiles.update('edge', this.#edgeSeries, 0)
    this.#percentiles.update('cloud', series, this.#cloud.sent)
    this.#anatomy.update(this.#edgeSeries.at(0.5), series.at(0.5))
    this.#verdict.show(verdict(this.#facts()))
  }

  #facts(): Facts {
    const { series, connectMs } = this.#cloud.record
    const { state, experiment } = this.#cloud
    const part = (call: Call | undefined, ...names: readonly string[]): number | undefined =>
      call?.parts.filter(({ name }) => names.includes(name)).reduce((sum, { ms }) => sum + ms, 0)
    // As long as the median says nothing, neither do its parts.
    const typical = (calls: Series<Call>): Call | undefined => (calls.percentiles().p50 === undefined ? undefined : calls.at(0.5))
    const [edgeCall, cloudCall] = [typical(this.#edgeSeries), typical(series)]
    return {
      edge: {
        calls: this.#edgeSeries.count,
        percentiles: this.#edgeSeries.percentiles(),
        compute: part(edgeCall, 'compute'),
        sent: 0,
        firstAnswer: this.#coldStart?.firstAnswer,
        load: this.#coldStart?.load,
        downloaded: this.#coldStart?.downloaded,
        offlineReady: this.#offlineReady,
      },
      cloud: {
        calls: series.count,
        percentiles: series.percentiles(),
        compute: part(cloudCall, 'compute'),
        sent: this.#cloud.sent,
        answered: this.#cloud.answered,
        connect: connectMs,
        failure: state.kind === 'failed' ? state.sentence : undefined,
        network: part(cloudCall, 'network', 'simulated'),
        model: experiment.model,
        pricePerHour: this.#pricePerHour,
      },
      conditions: experiment.conditions,
      compared: this.#comparison,
    }
  }
}
