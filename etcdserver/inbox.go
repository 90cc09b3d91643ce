package etcdserver

import "sync"

// inbox hands items from many goroutines to one that takes all at once. It is
// bounded in number, and in bytes if it weighs items; one always fits.
type inbox[T any] struct {
	wake chan struct{} // has room for one: the taker looks for itself

	// mu guards items, for the length of an append or a swap.
	mu    sync.Mutex
	items []T
	limit int
	bytes int // of items

	weigh    func(T) int // nil: items have no weight
	bytesMax int
}

func newInbox[T any](limit int) *inbox[T] {
	return &inbox[T]{wake: make(chan struct{}, 1), limit: limit}
}

// weighing bounds an inbox in bytes, too.
func (b *inbox[T]) weighing(weigh func(T) int, bytesMax int) *inbox[T] {
	b.weigh, b.bytesMax = weigh, bytesMax
	return b
}

// put adds an item; false means that the inbox is full.
func (b *inbox[T]) put(item T) bool {
	b.mu.Lock()
	if len(b.items) >= b.limit {
		b.mu.Unlock()
		return false
	}
	if b.weigh != nil {
		bytes := b.weigh(item)
		if len(b.items) > 0 && b.bytes+bytes > b.bytesMax {
			b.mu.Unlock()
			return false
		}
		b.bytes += bytes
	}
	b.items = append(b.items, item)
	first := len(b.items) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take gives all items, in the order of put, and leaves spare, emptied, for
// the next ones.
func (b *inbox[T]) take(spare []T) []T {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items, b.bytes = spare[:0], 0
	return items
}
