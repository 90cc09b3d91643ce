package httpserver

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// inBudget calls test with one end of a counted connection, in simulated time.
func inBudget(t *testing.T, test func(t *testing.T, c net.Conn, b *Budget)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		b := NewBudget(1, nil, nil)
		c := b.admit(server)
		test(t, c, b)
		c.Close()
		client.Close()
		<-time.After(2 * sweepInterval) // the last sweep finds nothing open
	})
}

func TestDeadlinesPassInTime(t *testing.T) {
	for _, in := range []time.Duration{-time.Hour, 0, time.Millisecond, 1900 * time.Millisecond, 2 * time.Second, 10 * time.Second, 5 * time.Minute} {
		inBudget(t, func(t *testing.T, c net.Conn, _ *Budget) {
			<-time.After(300 * time.Millisecond) // anywhere between two sweeps
			start := time.Now()
			c.SetReadDeadline(start.Add(in))
			_, err := c.Read(make([]byte, 1))
			late := time.Since(start) - max(in, 0)
			if !errors.Is(err, os.ErrDeadlineExceeded) || late < 0 || late > sweepInterval || in < farDeadline-sweepInterval && late > 0 {
				t.Errorf("a read with %v left fails %v late, with %v", in, late, err)
			}
		})
	}
}

func TestDeadlinesAreLifted(t *testing.T) {
	for _, first := range []time.Duration{-time.Second, time.Second, time.Minute} {
		for _, second := range []time.Duration{0, time.Hour} { // 0 is none
			inBudget(t, func(t *testing.T, c net.Conn, _ *Budget) {
				c.SetDeadline(time.Now().Add(first))
				if second == 0 {
					c.SetDeadline(time.Time{})
				} else {
					c.SetDeadline(time.Now().Add(second))
				}
				failed := make(chan error, 1)
				go func() {
					_, err := c.Read(make([]byte, 1))
					failed <- err
				}()
				select {
				case err := <-failed:
					t.Errorf("a deadline of %v, replaced by %v, fails a read: %v", first, second, err)
				case <-time.After(10 * time.Minute):
				}
				c.SetReadDeadline(time.Now().Add(-time.Second)) // as net/http interrupts a read
				<-failed
				if err := c.SetReadDeadline(time.Time{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestWriteDeadlinesPassInTime(t *testing.T) {
	inBudget(t, func(t *testing.T, c net.Conn, _ *Budget) {
		start := time.Now()
		c.SetWriteDeadline(start.Add(time.Minute))
		_, err := c.Write([]byte("nobody reads"))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Minute {
			t.Errorf("a write fails after %v with %v", took, err)
		}
	})
}

// A write without a deadline ends when the client does not read for too long, and not before. Each write has its own time.
func TestAStuckWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		c := NewBudget(1, nil, nil).admit(server)
		go func() { // reads a byte now and then, for a long time
			for range 20 {
				<-time.After(writePatience / 2)
				if _, err := client.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
			}
		}()
		for n := range 20 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatalf("write %d: %v", n, err)
			}
		}
		start := time.Now()
		_, err := c.Write([]byte("nobody reads"))
		if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took < writePatience || took > writePatience+2*sweepInterval {
			t.Errorf("a write that gets stuck fails after %v with %v", took, err)
		}
		c.Close()
		client.Close()
		<-time.After(2 * sweepInterval) // the last sweep finds nothing open
	})
}

func TestSweepsComeAndGoWithConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(0, nil, nil)
		for range 3 {
			_, server := net.Pipe()
			c := b.admit(server)
			start := time.Now()
			c.SetReadDeadline(start.Add(time.Minute))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > time.Minute+sweepInterval {
				t.Errorf("a read fails after %v with %v", time.Since(start), err)
			}
			c.Close()
			<-time.After(time.Hour)
		}
	})
}
