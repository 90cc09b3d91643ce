package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// readers read all streams in one goroutine: what the load takes of the
// processors is missing for the server. Those with TLS have one each.
type readers struct {
	secure  eachReaders
	files   map[int32]*os.File
	stopped atomic.Bool
	reading sync.WaitGroup
}

// add takes a connection whose answer has begun, but brought no event yet.
func (r *readers) add(c *connection) error {
	plain, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return r.secure.add(c)
	}
	file, err := plain.File()
	if err = errors.Join(err, c.Close()); err != nil { // Go's own poller knows the original only
		return err
	}
	if r.files == nil {
		r.files = map[int32]*os.File{}
	}
	r.files[int32(file.Fd())] = file
	return unix.SetNonblock(int(file.Fd()), true)
}

// start counts the events of all streams until close is called.
func (r *readers) start(events *atomic.Uint64) error {
	if err := r.secure.start(events); err != nil {
		return err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	for fd := range r.files {
		err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd})
		if err != nil {
			return errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(poll))
		}
	}
	r.reading.Go(func() {
		r.read(poll, events)
		_ = unix.Close(poll) // it has no bytes to lose
	})
	return nil
}

const stopMillis = 50 // within which close is noticed

func (r *readers) read(poll int, events *atomic.Uint64) {
	ready := make([]unix.EpollEvent, 256)
	buffer := make([]byte, 64<<10)
	last := map[int32]byte{}
	for !r.stopped.Load() {
		n, err := unix.EpollWait(poll, ready, stopMillis)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, e := range ready[:max(n, 0)] {
			got, err := unix.Read(int(e.Fd), buffer)
			if got <= 0 && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				_ = unix.EpollCtl(poll, unix.EPOLL_CTL_DEL, int(e.Fd), nil) // the stream has ended
				continue
			}
			if got > 0 {
				events.Add(uint64(lineEnds(last[e.Fd], buffer[:got])))
				last[e.Fd] = buffer[got-1]
			}
		}
	}
}

func (r *readers) close() error {
	r.stopped.Store(true)
	r.reading.Wait()
	errs := []error{r.secure.close()}
	for _, file := range r.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}
