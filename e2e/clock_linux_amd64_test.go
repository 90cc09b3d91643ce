package e2e

import (
	"bufio"
	"bytes"
	"debug/elf"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process asks the kernel for the time through a function that the kernel maps
// into it, the vDSO's clock_gettime. shift overwrites that function, in this
// process alone, with one that adds a constant to the wall clock and leaves the
// other clocks as they are. (A preloaded library would do nothing to a program
// that does not call libc.)

// shiftedClock is that function; the two numbers that it adds, seconds and
// nanoseconds, follow it.
var shiftedClock = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, //       mov  eax, 228         clock_gettime(edi, rsi)
	0x0f, 0x05, //                         syscall
	0x09, 0xc7, //                         or   edi, eax         0 if it was the wall clock, and went well
	0x75, 0x2c, //                         jnz  done
	0x48, 0x8b, 0x15, 0x26, 0x00, 0x00, 0x00, // mov rdx, [seconds]
	0x48, 0x01, 0x16, //                   add  [rsi], rdx
	0x48, 0x8b, 0x15, 0x24, 0x00, 0x00, 0x00, // mov rdx, [nanoseconds]
	0x48, 0x03, 0x56, 0x08, //             add  rdx, [rsi+8]
	0x48, 0x81, 0xfa, 0x00, 0xca, 0x9a, 0x3b, // cmp rdx, 1000000000
	0x7c, 0x0a, //                         jl   carried
	0x48, 0x81, 0xea, 0x00, 0xca, 0x9a, 0x3b, // sub rdx, 1000000000
	0x48, 0xff, 0x06, //                   inc  qword [rsi]
	0x48, 0x89, 0x56, 0x08, //    carried: mov  [rsi+8], rdx
	0xc3, //                         done: ret
}

// shift sets the wall clock of the process off by so much, until it ends.
func (s *server) shift(by time.Duration) {
	s.t.Helper()
	seconds := by / time.Second
	if by%time.Second < 0 {
		seconds-- // nanoseconds are never negative
	}
	code := encoding.LittleEndian.AppendUint64(bytes.Clone(shiftedClock), uint64(seconds))
	code = encoding.LittleEndian.AppendUint64(code, uint64(by-seconds*time.Second))
	pid := s.command.Process.Pid
	begin, size, err := clockOf(pid)
	if err == nil && size < len(code) {
		err = fmt.Errorf("clock_gettime has only %d bytes", size)
	}
	if err != nil {
		s.t.Fatalf("find the clock of process %d: %v", pid, err)
	}
	s.pause()
	defer s.resume()
	eventually(s.t, hang, "no thread to be looking at the clock", func() error {
		if err := stoppedOutside(pid, begin, begin+uint64(size)); err != nil {
			s.resume()
			s.pause()
			return err
		}
		return nil
	})
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer memory.Close()
	if _, err := memory.WriteAt(code, int64(begin)); err != nil {
		s.t.Fatalf("overwrite the clock of process %d: %v", pid, err)
	}
}

// clockOf finds clock_gettime in the memory of a process.
func clockOf(pid int) (begin uint64, size int, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	var low, high uint64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &low, &high); err != nil {
				return 0, 0, err
			}
		}
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, 0, err
	}
	defer memory.Close()
	image := make([]byte, high-low)
	if _, err := memory.ReadAt(image, int64(low)); err != nil {
		return 0, 0, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, err
	}
	symbols, err := file.DynamicSymbols()
	for _, symbol := range symbols {
		if symbol.Name == "__vdso_clock_gettime" {
			return low + symbol.Value, int(symbol.Size), nil
		}
	}
	return 0, 0, errors.Join(err, errors.New("the vDSO has no clock_gettime"))
}

// stoppedOutside is nil if all threads of a process stand still, none of them in
// the addresses given.
func stoppedOutside(pid int, begin, end uint64) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		where, err := os.ReadFile(thread + "/syscall") // "running", or numbers that end in the stack's and the program's pointer
		if err != nil {
			return err
		}
		fields := strings.Fields(string(where))
		var at uint64
		if _, err := fmt.Sscanf(fields[len(fields)-1], "0x%x", &at); err != nil {
			return fmt.Errorf("a thread is %s", fields[0])
		}
		stat, err := os.ReadFile(thread + "/stat")
		if err != nil {
			return err
		}
		if state := stat[bytes.LastIndexByte(stat, ')')+2]; state != 'T' {
			return fmt.Errorf("a thread is in state %c", state)
		}
		if at >= begin && at < end {
			return errors.New("a thread is in the function")
		}
	}
	return nil
}

// Steps of the wall clock by an hour, and a wall clock that jumps to and fro,
// cause no election, and keys live as long as they were told to (R30).
func TestStepsOfTheClockMoveNothing(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3, "--election-timeout", "5s") // a busy machine causes no election
	leader := c.leader()
	before, err := leader.term()
	if err != nil {
		t.Fatal(err)
	}
	leader.must(http.StatusCreated, http.MethodPut, "/v2/keys/long", "value=1&ttl=1800")
	for _, by := range []time.Duration{time.Hour, -time.Hour, 0} {
		for _, s := range []*server{leader, c.others(leader)[0]} {
			began := time.Now()
			leader.must(http.StatusCreated, http.MethodPut, "/v2/keys/short", "value=1&ttl=1")
			s.shift(by)
			c.mustExpire("short", began.Add(time.Second))
		}
	}
	began := time.Now()
	leader.must(http.StatusCreated, http.MethodPut, "/v2/keys/short", "value=1&ttl=2")
	for n := range 30 {
		leader.shift(time.Duration(1-n%2*2) * 500 * time.Millisecond)
	}
	c.mustExpire("short", began.Add(2*time.Second))
	for _, s := range c.members {
		s.must(http.StatusOK, http.MethodGet, "/v2/keys/long", "")
	}
	if after, err := leader.term(); err != nil || after != before || c.leader() != leader {
		t.Errorf("the term was %d and is %d, %v", before, after, err)
	}
	if date, err := http.ParseTime(leader.must(http.StatusOK, http.MethodGet, "/health", "").header.Get("Date")); err != nil || time.Since(date).Abs() > 5*time.Second {
		t.Errorf("the clock of the leader is %v, %v: it should be right again", date, err)
	}
}

// mustExpire makes sure that a key, whichever member is asked, does not vanish
// before it is due, and does soon after. Both are judged by answers that have
// arrived, so that a slow machine changes neither.
func (c *cluster) mustExpire(key string, due time.Time) {
	c.t.Helper()
	for _, s := range c.members {
		eventually(c.t, hang, "a key to expire", func() error {
			a, err := s.do(http.MethodGet, "/v2/keys/"+key+"?quorum=true", "") // a member may lag
			switch {
			case err != nil:
				return err
			case a.status != http.StatusOK && time.Now().Before(due):
				c.t.Errorf("%s is gone %v too early", key, time.Until(due))
			case a.status == http.StatusOK:
				return fmt.Errorf("it is there")
			}
			return nil
		})
	}
}

// The wall clock of the leader, then of the others, jumps by an hour.
func TestLinearizableWhenClocksJump(t *testing.T) {
	parallel(t)
	c := newCluster(t, 3)
	during(t, c, func(func([]*server)) {
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			pass(300 * time.Millisecond)
			old := c.leader()
			old.shift(by)
			pass(300 * time.Millisecond)
			c.others(old)[0].shift(-by)
			pass(300 * time.Millisecond)
			old.pause() // another one leads, whose clock is another
			pass(outage)
			old.resume()
		}
	})
}

// The clock that a test sets off is the one that the program reads.
func TestAClockIsSetOff(t *testing.T) {
	parallel(t)
	s := newServer(t).start()
	for _, by := range []time.Duration{time.Hour, -90 * time.Minute, -1500 * time.Millisecond, 0} {
		s.shift(by)
		eventually(t, hang, "the date to be off", func() error { // it is written once a second
			date, err := http.ParseTime(s.must(http.StatusOK, http.MethodGet, "/health", "").header.Get("Date"))
			if off := time.Until(date); err == nil && (off-by).Abs() > 1500*time.Millisecond {
				err = fmt.Errorf("it is off by %v, not by %v", off, by)
			}
			return err
		})
	}
}

// Steps of the wall clock neither end what waits on a connection nor let it wait for longer.
func TestStepsOfTheClockMoveNoDeadline(t *testing.T) {
	parallel(t)
	const ask = "GET /version HTTP/1.1\r\nHost: h\r\n\r\n" // which net/http serves, with deadlines for each request
	for name, each := range map[string]struct {
		idle string
		step time.Duration
		ends bool
	}{
		"forward":  {"30m", time.Hour, false},
		"backward": {"3s", -time.Hour, true},
	} {
		s := newServer(t, "--idle-timeout", each.idle).start()
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.client, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		exchange := func() error {
			if _, err := io.WriteString(conn, ask); err != nil {
				return err
			}
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, answer.Body)
			return err
		}
		if err := exchange(); err != nil {
			t.Fatal(err)
		}
		s.shift(each.step)
		if each.ends {
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: a connection without a request stays open: %v", name, err)
			}
			continue
		}
		pass(2500 * time.Millisecond) // deadlines are looked at once a second
		if err := exchange(); err != nil {
			t.Errorf("%s: a connection that waits was closed: %v", name, err)
		}
	}
}

// TestStepsOfTheClockMoveNoEndpoint: a proxy whose member has answered a moment ago is healthy, though its clock has
// jumped by an hour since.
func TestStepsOfTheClockMoveNoEndpoint(t *testing.T) {
	parallel(t)
	p := newProxy(t, newServer(t).start(), "--proxy-failure-wait", "10m", "--proxy-refresh-interval", "10m")
	p.launch()
	p.awaitEndpoints(1)
	p.must(http.StatusOK, http.MethodGet, "/v2/keys", "")
	for _, by := range []time.Duration{0, time.Hour, -time.Hour} {
		p.shift(by)
		if a := p.must(http.StatusOK, http.MethodGet, "/v2/config/local/health", ""); a.body != `{"health": "true"}` {
			t.Errorf("with a clock that is %v off: %s", by, a.body)
		}
	}
}
