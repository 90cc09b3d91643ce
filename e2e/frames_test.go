package e2e

import (
	"bytes"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client of HTTP/2 that sends what it likes. Its methods that write
// may be called by several goroutines.
type frames struct {
	net.Conn
	next uint32 // the stream that is opened next

	mu      sync.Mutex // guards what is below
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   *bytes.Buffer // what encoder writes to
}

// speak begins HTTP/2 on a connection, with these settings.
func speak(connection net.Conn, settings ...http2.Setting) (*frames, error) {
	f := &frames{Conn: connection, next: 1, framer: http2.NewFramer(connection, connection), block: &bytes.Buffer{}}
	f.encoder = hpack.NewEncoder(f.block)
	if _, err := connection.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	return f, f.framer.WriteSettings(settings...)
}

// send writes something, between what others write.
func (f *frames) send(write func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return write()
}

// open begins a request of the next stream, and ends it unless a body is to follow.
func (f *frames) open(method, path string, body bool, more ...hpack.HeaderField) (stream uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stream = f.next
	f.next += 2
	return stream, f.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: f.header(method, path, more...), EndStream: !body, EndHeaders: true,
	})
}

// header is the block of a request's fields; mu is held.
func (f *frames) header(method, path string, more ...hpack.HeaderField) []byte {
	f.block.Reset()
	for _, field := range append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":path", Value: path}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "localhost"},
	}, more...) {
		f.encoder.WriteField(field) // to a buffer, which takes everything
	}
	return f.block.Bytes()
}

// heed answers what has to be answered, until the connection ends or all has
// been seen that was asked for.
func (f *frames) heed(seen func(http2.Frame) bool) error {
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return err
		}
		f.mu.Lock()
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = f.framer.WritePing(true, frame.Data)
			}
		case *http2.GoAwayFrame:
			err = fmt.Errorf("the server goes away: %v %s", frame.ErrCode, frame.DebugData())
		}
		f.mu.Unlock()
		if err != nil || seen != nil && seen(frame) {
			return err
		}
	}
}
