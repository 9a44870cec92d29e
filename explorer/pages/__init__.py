"""One page each: `render(plan, space)`."""
