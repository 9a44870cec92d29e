// Streamlit can call a component's function for new data and only then the cleanup of the call
// before. That cleanup must not undo the newer call. Gives the cleanup of this call: after a later
// one it does nothing.

const calls = new WeakMap()

function cleanupOf(element, close) {
  const own = {}
  calls.set(element, own)
  return () => {
    if (calls.get(element) === own) close()
  }
}

const newest = new WeakMap()

// Is this data older than what the element was called with before? Calls that wait until the module
// is loaded can come in any order. data_numbers.py gives the numbers; they rise.
function isOutdated(element, number) {
  if (number < newest.get(element)) return true
  newest.set(element, number)
  return false
}

const instances = new WeakMap()

// Gives the data of a call to what the element shows; the first call makes it. make(element, key):
// an object with receive(component) and stop(). Returns the cleanup of the call.
function received(component, make) {
  const { parentElement, data } = component
  if (isOutdated(parentElement, data.number)) return
  if (!instances.has(parentElement)) instances.set(parentElement, make(parentElement, data.key))
  const instance = instances.get(parentElement)
  instance.receive(component)
  return cleanupOf(parentElement, () => {
    instance.stop()
    instances.delete(parentElement)
  })
}
