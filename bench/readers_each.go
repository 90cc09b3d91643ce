package main

import (
	"errors"
	"sync"
	"sync/atomic"
)

// eachReaders read each stream in a goroutine of its own.
type eachReaders struct {
	connections []*connection
	reading     sync.WaitGroup
}

// add takes a connection whose answer has begun, but brought no event yet.
func (r *eachReaders) add(c *connection) error {
	r.connections = append(r.connections, c)
	return nil
}

// start counts the events of all streams until close is called.
func (r *eachReaders) start(events *atomic.Uint64) error {
	for _, c := range r.connections {
		r.reading.Go(func() {
			buffer := make([]byte, 16<<10)
			var last byte
			for {
				n, err := c.r.Read(buffer)
				if n > 0 {
					events.Add(uint64(lineEnds(last, buffer[:n])))
					last = buffer[n-1]
				}
				if err != nil {
					return
				}
			}
		})
	}
	return nil
}

func (r *eachReaders) close() error {
	var errs []error
	for _, c := range r.connections {
		errs = append(errs, c.Close())
	}
	r.reading.Wait()
	return errors.Join(errs...)
}
