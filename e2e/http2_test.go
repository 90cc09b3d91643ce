package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attack uses one connection of HTTP/2 until that ends, as it does with an
// error from the server, or because the time is over.
type attack struct {
	name string
	deaf bool // it never reads
	run  func(f *frames) error
}

var attacks = []attack{
	{name: "requests that are reset at once", run: rapidReset},
	{name: "a header without an end", run: endlessContinuation},
	{name: "headers that grow when they are unpacked", run: headerBomb},
	{name: "fields that are new each time", run: newFields},
	{name: "pings", deaf: true, run: func(f *frames) error {
		return f.flood(func() error { return f.framer.WritePing(false, [8]byte{1}) })
	}},
	{name: "settings", deaf: true, run: func(f *frames) error {
		return f.flood(func() error {
			return f.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
		})
	}},
	{name: "streams that are opened and left", run: hangingStreams},
}

// flood sends the same again and again until the connection fails.
func (f *frames) flood(write func() error) error {
	for {
		if err := f.send(write); err != nil {
			return err
		}
	}
}

// rapidReset is CVE-2023-44487.
func rapidReset(f *frames) error {
	for {
		stream, err := f.open(http.MethodGet, "/v2/keys/ordinary", false)
		if err == nil {
			err = f.send(func() error { return f.framer.WriteRSTStream(stream, http2.ErrCodeCancel) })
		}
		if err != nil {
			return err
		}
	}
}

// endlessContinuation is CVE-2023-45288: each frame has 16 kB of a field that is
// repeated, which costs work to unpack.
func endlessContinuation(f *frames) error {
	f.mu.Lock()
	defer f.mu.Unlock() // nothing may come between
	stream := f.next
	block := slices.Clone(f.header(http.MethodGet, "/v2/keys/ordinary"))
	if err := f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block}); err != nil {
		return err
	}
	f.block.Reset()
	for f.block.Len() < 15<<10 {
		f.encoder.WriteField(hpack.HeaderField{Name: "x-filler", Value: strings.Repeat("~", 100), Sensitive: true}) // in full each time
	}
	for {
		if err := f.framer.WriteContinuation(stream, false, f.block.Bytes()); err != nil {
			return err
		}
	}
}

// headerBomb refers to one field of 4 kB in a table ten thousand times in a
// request, in two bytes each (CVE-2022-41723 and others).
func headerBomb(f *frames) error {
	bomb := slices.Repeat([]hpack.HeaderField{{Name: "x-bomb", Value: strings.Repeat("b", 3900)}}, 10_000)
	if _, err := f.open(http.MethodGet, "/v2/keys/ordinary", false, bomb[0]); err != nil {
		return err
	}
	block := slices.Clone(f.header(http.MethodGet, "/v2/keys/ordinary", bomb...)) // all of it is in the table now
	return f.flood(func() error {
		f.next += 2
		return f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next - 2, BlockFragment: block, EndStream: true, EndHeaders: true})
	})
}

// newFields has names of fields that no request had before (CVE-2022-41717,
// CVE-2021-44716).
func newFields(f *frames) error {
	for n := 0; ; n++ {
		fields := make([]hpack.HeaderField, 20)
		for i := range fields {
			fields[i] = hpack.HeaderField{Name: fmt.Sprintf("x-new-%d-%d", n, i), Value: "v"}
		}
		if _, err := f.open(http.MethodGet, "/v2/keys/ordinary", false, fields...); err != nil {
			return err
		}
	}
}

// hangingStreams opens more requests than one connection may have, whose bodies
// never come or whose answers are never taken, and begins again with another
// connection after a while.
func hangingStreams(f *frames) error {
	for n := range 1000 {
		method, body := http.MethodGet, false
		if n%2 == 0 {
			method, body = http.MethodPut, true
		}
		if _, err := f.open(method, "/v2/keys/ordinary", body); err != nil {
			return err
		}
	}
	pass(500 * time.Millisecond)
	return f.send(func() error { return f.framer.WriteGoAway(0, http2.ErrCodeProtocol, nil) })
}

// attacking names the attack that this process is there for, see attack.start.
var attacking = flag.String("attack", "", "attack the address that is the first argument in this way, instead of testing")

// press attacks an address with one connection after the other for as long as
// this process runs.
func press(name, address string) error {
	at := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
	if at < 0 {
		return fmt.Errorf("no attack is called %q", name)
	}
	for {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		fmt.Println(attacks[at].once(connection))
		connection.Close()
	}
}

// start attacks a server from another process until stop is called, which gives
// what ended each connection. That process gives way to all others, as if it ran
// on a machine of its own: what it takes of this one is not the server's fault.
func (a attack) start(t *testing.T, s *server) (stop func() (ends []string)) {
	t.Helper()
	ends := &lockedBuffer{}
	process := exec.Command("nice", "-n", "19", os.Args[0], "-attack", a.name, s.address())
	process.Stdout, process.Stderr = ends, ends
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		process.Process.Kill() // fails if it has ended, which Wait tells
		if err := process.Wait(); process.ProcessState.Exited() {
			t.Errorf("the attack ended by itself: %v, %s", err, ends)
		}
		return slices.Collect(strings.Lines(ends.String()))
	}
}

// once attacks by one connection, whose answers are read unless it is deaf. The
// first error ends it: the server has had enough.
func (a attack) once(connection net.Conn) error {
	f, err := speak(connection, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	if err != nil {
		return err
	}
	listened := make(chan error, 1)
	go func() {
		if a.deaf {
			listened <- nil
			return
		}
		listened <- f.heed(nil)
		connection.Close() // ends the attack
	}()
	err = a.run(f)
	connection.Close()
	return errors.Join(err, <-listened)
}

// ordinary is how long the requests of ordinary clients take for a while.
func (s *server) ordinary(t *testing.T, length time.Duration) latencies {
	t.Helper()
	write, read := put("/ordinary", "1"), []byte("GET /v2/keys/ordinary HTTP/1.1\r\nHost: localhost\r\n\r\n")
	clients := &crowd{address: s.address(), size: 8, every: 10 * time.Millisecond, request: func(_, n int) []byte {
		if n%2 == 0 {
			return write
		}
		return read
	}}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	took, err := clients.run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return took
}

// One connection of each kind of attack on HTTP/2 leaves memory bounded, and
// other clients as fast as before: the median over windows of their 99th
// percentile stays below twice what it was before and is afterwards (R111).
func TestAttacksByHTTP2(t *testing.T) {
	parallel(t)
	const grownMost = 64 << 20
	s := newServer(t).start()
	s.must(http.StatusCreated, http.MethodPut, "/v2/keys/ordinary", "value=1")
	window, windows := scale(200*time.Millisecond, 5*time.Second), scale(5, 12) // a disk that stalls once spoils one of them
	p99 := func(windows int) (all latencies) {
		for range windows {
			all = append(all, s.ordinary(t, window).at(0.99))
		}
		return all
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			quiet := p99((windows + 1) / 4)
			before := s.residentBytes()
			stop := a.start(t, s)
			resident := highest(100*time.Millisecond, s.residentBytes)
			during := p99(windows)
			resident.stop()
			ends := stop()
			quiet = append(quiet, p99((windows+1)/3)...)
			t.Logf("p99 %v, during the attack %v; grew by %d MiB; connections that ended: %d %q", quiet.at(0.5), during.at(0.5), (resident.most-before)>>20, len(ends), ends[:min(1, len(ends))])
			if limit := 2 * quiet.at(0.5); *full && during.at(0.5) > limit {
				t.Errorf("the p99 of others was %v, more than %v", during, limit)
			}
			if resident.most > before+grownMost {
				t.Errorf("%d MiB were resident, and before %d MiB", resident.most>>20, before>>20)
			}
		})
	}
}
