package process

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sirupsen/logrus"

	"canopy/config"
)

// newLogger makes the one logger of the process. The function it returns
// closes the files it writes to.
func newLogger(c config.Log) (*logrus.Logger, func(), error) {
	logger := logrus.New()
	level, err := logrus.ParseLevel(c.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("--log-level: %w", err)
	}
	logger.SetLevel(level)
	if c.Format == "json" {
		logger.SetFormatter(redacting{&logrus.JSONFormatter{TimestampFormat: logTime}})
	} else {
		logger.SetFormatter(redacting{&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: logTime}})
	}
	out, closeAll, err := openOutputs(c.Outputs)
	if err != nil {
		return nil, nil, err
	}
	logger.SetOutput(out)
	return logger, closeAll, nil
}

const logTime = "2006-01-02T15:04:05.000000Z07:00"

func openOutputs(names []string) (io.Writer, func(), error) {
	var outputs []io.Writer
	var files []io.Closer
	closeAll := func() {
		for _, f := range files {
			f.Close() // the process ends, so nothing is left that could report an error
		}
	}
	for _, name := range names {
		switch name {
		case "stderr", "default":
			outputs = append(outputs, os.Stderr)
		case "stdout":
			outputs = append(outputs, os.Stdout)
		default:
			f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				closeAll()
				return nil, nil, fmt.Errorf("--log-outputs: %w", err)
			}
			outputs, files = append(outputs, f), append(files, f)
		}
	}
	if len(outputs) == 0 {
		return nil, nil, errors.New("--log-outputs: no output is named")
	}
	return io.MultiWriter(outputs...), closeAll, nil
}
