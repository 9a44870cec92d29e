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
