// A layer that the user and Python choose. The user's choice counts at once, and until Python has
// answered it.

// Milliseconds after an arrow key before the choice is sent.
const REST = 180

// Milliseconds after which Python's choice replaces the user's, if Python has not answered.
const TRUST = 5000

class Choice {
  // show: called with the layer that Python chose, when its answer to a choice does not come.
  constructor(show) {
    this.show = show
    this.forget()
  }

  // Of another network: what was chosen is no layer of this one.
  forget() {
    this.stop()
    this.name = this.given = this.pending = this.asked = null
  }

  // name: chosen by Python; send(name): tells Python what the user chose.
  receive(name, send) {
    this.send = send
    this.given = name
    if (name === this.asked) this.asked = null
    if (this.pending === null || this.pending === name) this.settle()
  }

  // pause: milliseconds before it is sent.
  choose(name, pause) {
    this.name = name
    clearTimeout(this.later)
    // Back to what Python has, or is asked for: nothing is sent.
    if (name === (this.asked ?? this.given)) {
      this.pending = this.asked
      return
    }
    this.pending = name
    this.later = setTimeout(() => this.ask(name), pause)
  }

  ask(name) {
    this.asked = name
    this.send(name)
    clearTimeout(this.trusted)
    this.trusted = setTimeout(() => {
      this.settle()
      this.show(this.name)
    }, TRUST)
  }

  settle() {
    this.stop()
    this.pending = this.asked = null
    this.name = this.given
  }

  stop() {
    clearTimeout(this.later)
    clearTimeout(this.trusted)
  }
}
