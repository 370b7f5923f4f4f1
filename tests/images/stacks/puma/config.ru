run ->(env) { [200, { "content-type" => "application/json" }, [File.read("/srv/config.json")]] }
