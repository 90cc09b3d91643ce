package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"canopy/config"
	"canopy/internal/disk"
	"canopy/wal"
)

// begunBefore tells what a data directory was begun as (B6, B10). An error comes again when the directory is opened.
func begunBefore(c config.Config) config.Begun {
	if begun, err := begunAs(disk.OS{}, c.DataDir); err != nil {
		return config.Fresh
	} else if slices.Equal(begun, []string{"proxy"}) {
		return config.AsProxy
	}
	if ran, err := wal.Exists(disk.OS{}, c.LogDir()); err == nil && ran {
		return config.AsMember
	}
	if _, err := os.Stat(filepath.Join(c.MemberDir(), "identity")); err == nil {
		return config.AsMember // its log is elsewhere, or lost
	}
	return config.Fresh
}

// check prints the configuration in force, what is odd about it, and what a start would refuse (F61).
func check(invocation config.Invocation) int {
	c := invocation.Config
	if !invocation.Quiet {
		fmt.Print(c.Effective())
	}
	for _, note := range invocation.Notes {
		if note.Warning {
			fmt.Fprintln(os.Stderr, "warning: "+note.Text)
		}
	}
	begun := begunBefore(c)
	asProxy := begun == config.AsProxy || begun == config.Fresh && c.Proxy.Mode != config.ProxyOff
	var errs []error
	switch {
	case begun == config.AsMember:
	case asProxy:
		if !knowsCluster(c) {
			_, err := c.FirstPeerURLs()
			errs = append(errs, err)
		}
	default:
		_, err := c.Bootstrap(net.LookupHost)
		errs = append(errs, err)
	}
	errs = append(errs, checkDir("data-dir", c.DataDir, begun == config.Fresh))
	if c.WALDir != "" && !asProxy {
		errs = append(errs, checkDir("wal-dir", c.WALDir, begun == config.Fresh))
	}
	if err := errors.Join(errs...); err != nil {
		return refuse(err)
	}
	return 0
}

// knowsCluster tells whether a proxy has a list of members from an earlier run, which counts (P5).
func knowsCluster(c config.Config) bool {
	_, err := os.Stat(filepath.Join(c.DataDir, "proxy", "cluster"))
	return err == nil
}

// checkDir says whether this user can write to a directory, or make it. Where nothing runs yet, it is tried.
func checkDir(flag, dir string, fresh bool) error {
	refused := func(err error) error {
		return fmt.Errorf("--%s=%s cannot be used: %w; choose a directory that this user can write to", flag, dir, err)
	}
	above := dir
	info, err := os.Stat(above)
	for errors.Is(err, fs.ErrNotExist) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
		info, err = os.Stat(above)
	}
	switch {
	case err != nil:
		return refused(err)
	case !info.IsDir():
		return refused(fmt.Errorf("%s is no directory", above))
	case !fresh:
		const write, enter = 2, 1
		if err := syscall.Access(above, write|enter); err != nil {
			return refused(err)
		}
		return nil
	}
	made, err := os.MkdirTemp(above, ".canopy-check-")
	if err != nil {
		return refused(err)
	}
	return os.Remove(made)
}
