package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var diskSizes = flag.String("disks", "64", "sizes in MiB of the disks that are filled, such as 64,256,1024")

// TestAFullDiskEndsByItself: overwrites never fill a disk that is large beside
// the state. One that is filled with keys refuses writes, and serves what gives
// room back for as long as it is full; when keys are deleted writes come back.
func TestAFullDiskEndsByItself(t *testing.T) {
	values := []int{100_000}
	if *diskSizes != "64" {
		values = []int{1000, 100_000, 1 << 20}
	}
	for _, size := range strings.Split(*diskSizes, ",") {
		mib, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			t.Run(fmt.Sprintf("%d MiB, values of %d bytes", mib, value), func(t *testing.T) {
				t.Parallel()
				w := &wear{server: newServer(t), value: value, random: rand.NewPCG(1, uint64(value))}
				w.dir = filepath.Join(smallDisk(t, mib<<20), "data")
				w.start()
				w.overwrite(mib << 20)
				w.fillUp(mib << 20)
				w.goOnWhileFull(mib << 20)
			})
		}
	}
}

// wear is a member whose disk is worn down.
type wear struct {
	*server
	value  int // bytes
	random *rand.PCG
	keys   int
}

func (w *wear) form() string { return incompressible(w.random, w.value) }

// overwrite writes three disks' worth to keys that take a hundredth of it.
func (w *wear) overwrite(disk int) {
	w.t.Helper()
	keys, form := max(1, min(50, disk/100/w.value)), w.form()
	w.together(func(n int) bool {
		a, err := w.do("PUT", fmt.Sprintf("/v2/keys/over/%d", n%keys), form)
		if err != nil || a.status >= 300 {
			w.t.Errorf("overwrite %d = %d %s %v", n, a.status, a.body, err)
			return false
		}
		return n*16*w.value < 3*disk
	})
}

// together has several clients do something as long as it returns true.
func (w *wear) together(each func(n int) bool) {
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for n := 0; each(n); n++ {
			}
		})
	}
	clients.Wait()
}

// fillUp writes keys, by several clients at once, until all are refused.
func (w *wear) fillUp(disk int) {
	w.t.Helper()
	var mu sync.Mutex // guards w.keys and w.random
	w.together(func(int) bool {
		mu.Lock()
		key, form := w.keys, w.form()
		w.keys++
		mu.Unlock()
		a, err := w.do("PUT", fmt.Sprintf("/v2/keys/fill/%d", key), form)
		switch {
		case err != nil || a.status >= 300 && a.status != http.StatusInsufficientStorage:
			w.t.Errorf("fill %d = %d %s %v", key, a.status, a.body, err)
		case key*w.value > disk:
			w.t.Errorf("%d keys of %d bytes fit on the disk", key, w.value)
		}
		return err == nil && a.status < 300 && key*w.value <= disk
	})
	w.t.Logf("full with %d keys of %d bytes", w.keys, w.value)
}

// goOnWhileFull does what is served on a full disk, and then makes room. A snapshot of a large disk ends after the disk
// was full first, and releases the log: then some more keys fit.
func (w *wear) goOnWhileFull(disk int) {
	w.t.Helper()
	w.deleteInVain(40_000)
	w.fillUp(disk)
	w.kill()
	w.copyStarts()
	w.start()
	w.fillUp(disk)
	w.must(http.StatusOK, "DELETE", "/v2/keys/fill?recursive=true", "")
	eventually(w.t, time.Minute, "writes to come back", func() error {
		a, err := w.do("PUT", "/v2/keys/again", w.form())
		if err != nil || a.status >= 300 {
			return fmt.Errorf("PUT = %d %s %v", a.status, a.body, err)
		}
		return nil
	})
}

// deleteInVain deletes keys that are not there: each is in the log, and gives
// nothing back.
func (w *wear) deleteInVain(n int) {
	w.t.Helper()
	key := "/v2/keys/" + strings.Repeat("missing", 100)
	w.together(func(done int) bool {
		a, err := w.do("DELETE", key, "")
		for waits := 0; err == nil && a.status == http.StatusServiceUnavailable && waits < 60; waits++ { // for a snapshot of a large disk
			a, err = w.do("DELETE", key, "")
		}
		if err != nil || a.status != http.StatusNotFound {
			w.t.Errorf("DELETE of a missing key on a full disk = %d %s %v", a.status, a.body, err)
		}
		return err == nil && a.status == http.StatusNotFound && done < n/16
	})
}

// copyStarts makes a backup of the data directory, and starts a member on it elsewhere.
func (w *wear) copyStarts() {
	w.t.Helper()
	copied := newServer(w.t, "--force-new-cluster")
	if err := os.MkdirAll(copied.dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", w.dir+"/.", copied.dir).CombinedOutput(); err != nil {
		w.t.Fatalf("copy: %v %s", err, out)
	}
	copied.start()
	copied.must(http.StatusOK, "GET", "/v2/keys/fill/0", "")
	copied.kill()
}
