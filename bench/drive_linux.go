package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// drive sends requests over so many connections, one at a time over each,
// until next gives none for any of them or ctx ends. It is one goroutine for
// all, for the reason that readers is; with TLS, of which only package tls
// knows what has come, it is one for each.
func drive(ctx context.Context, t target, connections int, next func(connection, n int) []byte) (*histogram, error) {
	if t.tls != nil || t.each {
		return driveEach(ctx, t, connections, next)
	}
	d := &driver{next: next, buffer: make([]byte, 64<<10), reader: bufio.NewReader(nil)}
	var err error
	if d.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(d.poll) // it has no bytes to lose
	defer d.close()
	for range connections {
		if err := d.add(t); err != nil {
			return nil, err
		}
	}
	return &d.took, d.run(ctx)
}

type driver struct {
	next   func(connection, n int) []byte
	poll   int
	driven []*driven
	busy   int // of them, those that wait for an answer
	took   histogram
	buffer []byte        // scratch
	reader *bufio.Reader // scratch
}

// driven is one connection. Its descriptor blocks: it is read when there is
// something, and a write ends when all is written.
type driven struct {
	file    *os.File
	fd      int
	sent    int // requests
	since   time.Time
	request []byte
	answer  []byte // the beginning, if not all of it has come
}

func (d *driver) add(t target) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	file, err := c.Conn.(*net.TCPConn).File()
	if err = errors.Join(err, c.Close()); err != nil { // Go's own poller knows the original only
		return err
	}
	one := &driven{file: file, fd: int(file.Fd())}
	d.driven = append(d.driven, one)
	timeout := unix.NsecToTimeval(ioTimeout.Nanoseconds())
	return errors.Join(
		unix.SetNonblock(one.fd, false),
		unix.SetsockoptTimeval(one.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.EpollCtl(d.poll, unix.EPOLL_CTL_ADD, one.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(d.driven) - 1)}),
	)
}

func (d *driver) close() {
	for _, one := range d.driven {
		one.file.Close()
	}
}

func (d *driver) run(ctx context.Context) error {
	for i := range d.driven {
		if err := d.send(ctx, i, time.Now()); err != nil {
			return err
		}
	}
	ready := make([]unix.EpollEvent, 256)
	for heard := time.Now(); d.busy > 0; {
		n, err := waitReady(d.poll, ready)
		switch {
		case err != nil:
			return err
		case n > 0:
			heard = time.Now()
		case time.Since(heard) > ioTimeout:
			return fmt.Errorf("no answer for %v", ioTimeout)
		}
		for _, e := range ready[:n] {
			if err := d.receive(ctx, int(e.Fd)); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// waitReady is epoll_wait, a second at most, without telling Go's scheduler:
// it would take and give a processor for each wait, though there is nothing
// else to run. A signal, with which it stops all for the collector, ends it.
func waitReady(poll int, ready []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll),
		uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)), uintptr(time.Second.Milliseconds()), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("epoll: %w", errno)
	}
}

// send sends the next request of a connection, if there is one.
func (d *driver) send(ctx context.Context, i int, now time.Time) error {
	one := d.driven[i]
	if one.request = d.next(i, one.sent); one.request == nil || ctx.Err() != nil {
		return nil
	}
	one.sent++
	one.since = now
	d.busy++
	for rest := one.request; len(rest) > 0; {
		n, err := unix.Write(one.fd, rest)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sending: %w", err)
		}
		rest = rest[max(n, 0):]
	}
	return nil
}

// receive reads what has come for a connection; after a whole answer it sends
// the next request.
func (d *driver) receive(ctx context.Context, i int) error {
	one := d.driven[i]
	n, err := unix.Read(one.fd, d.buffer)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if n <= 0 {
		return fmt.Errorf("receiving: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	answer := d.buffer[:n]
	if len(one.answer) > 0 {
		one.answer = append(one.answer, answer...)
		answer = one.answer
	}
	status, whole, err := d.read(answer)
	switch {
	case err != nil:
		return err
	case !whole:
		one.answer = append(one.answer[:0], answer...)
		return nil
	case status != 200 && status != 201:
		return badStatus(one.request, string(answer))
	}
	now := time.Now()
	d.took.add(now.Sub(one.since))
	d.busy--
	one.answer = one.answer[:0]
	return d.send(ctx, i, now)
}

// read gives the status of an answer if all of it is there.
func (d *driver) read(answer []byte) (status int, whole bool, err error) {
	if status, whole = readSmall(answer); whole {
		return status, true, nil
	}
	return d.readAny(answer)
}

// readAny is read for whatever form an answer has.
func (d *driver) readAny(answer []byte) (status int, whole bool, err error) {
	d.reader.Reset(bytes.NewReader(answer))
	h, err := readHead(d.reader)
	if err == nil {
		err = readBody(d.reader, h, io.Discard)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, false, nil
	}
	return h.status, err == nil, err
}

// readSmall gives the status of a whole answer in the form that servers write
// most of them in. Reading each header is half of what the load takes of a
// processor outside of the kernel.
func readSmall(answer []byte) (status int, whole bool) {
	head, body, ended := bytes.Cut(answer, []byte("\r\n\r\n"))
	_, length, found := bytes.Cut(head, []byte("\r\nContent-Length: "))
	digits, _, _ := bytes.Cut(length, []byte("\r\n"))
	if !ended || !found || len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, false
	}
	n, err := strconv.Atoi(string(digits))
	status, statusErr := strconv.Atoi(string(head[9:12]))
	return status, err == nil && statusErr == nil && n == len(body)
}
