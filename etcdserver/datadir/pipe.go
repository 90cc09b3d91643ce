package datadir

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// pipe is a channel whose content is bounded in bytes, too. An item that is
// larger than the bound is alone in it.
type pipe[T any] struct {
	items    chan piped[T]
	room     *semaphore.Weighted
	bytesMax int64
}

type piped[T any] struct {
	item  T
	bytes int64
}

func newPipe[T any](itemsMax int, bytesMax int64) *pipe[T] {
	return &pipe[T]{items: make(chan piped[T], itemsMax), room: semaphore.NewWeighted(bytesMax), bytesMax: bytesMax}
}

// put waits until there is room for an item, or the context ends.
func (p *pipe[T]) put(ctx context.Context, item T, bytes int64) error {
	bytes = min(bytes, p.bytesMax)
	if err := p.room.Acquire(ctx, bytes); err != nil {
		return err
	}
	select {
	case p.items <- piped[T]{item, bytes}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close says that nothing follows.
func (p *pipe[T]) close() { close(p.items) }

// each calls fn for all items until the end, the first error, or the end of the
// context. An item takes its room until fn returns.
func (p *pipe[T]) each(ctx context.Context, fn func(T) error) error {
	for {
		select {
		case next, more := <-p.items:
			if !more {
				return nil
			}
			err := fn(next.item)
			p.room.Release(next.bytes)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
