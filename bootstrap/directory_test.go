package bootstrap

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"

	"canopy/config"
)

// What a data directory contains decides what it belongs to, whatever the flags say (B6).
func TestWhomADataDirectoryBelongsTo(t *testing.T) {
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	for _, tt := range []struct {
		name     string
		contents []string
		mode     string
		begun    config.Begun
		asProxy  bool
	}{
		{"new", nil, config.ProxyOff, config.Fresh, false},
		{"new, with --proxy", nil, config.ProxyOn, config.Fresh, true},
		{"unknown files", []string{"lock"}, config.ProxyOn, config.Fresh, true},
		{"proxy", []string{"proxy/cluster"}, config.ProxyOff, config.AsProxy, true},
		{"member", []string{"member/wal/0000000000000000-0000000000000000.wal"}, config.ProxyOff, config.AsMember, false},
		{"member, with --proxy", []string{"member/wal/0000000000000000-0000000000000000.wal"}, config.ProxyOn, config.AsMember, false},
		{"member whose log is elsewhere", []string{"member/identity"}, config.ProxyOff, config.AsMember, false},
		{"member that waits for its cluster", []string{"member/discovery"}, config.ProxyOn, config.Fresh, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Config{DataDir: t.TempDir(), Proxy: config.Proxy{Mode: tt.mode}}
			for _, name := range tt.contents {
				file := filepath.Join(c.DataDir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if begun := Begun(c); begun != tt.begun {
				t.Errorf("Begun = %v, want %v", begun, tt.begun)
			}
			asProxy, err := AsProxy(c, silent)
			if err != nil || asProxy != tt.asProxy {
				t.Errorf("AsProxy = %v, %v, want %v", asProxy, err, tt.asProxy)
			}
		})
	}
}
