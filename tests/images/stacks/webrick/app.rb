require "webrick"
server = WEBrick::HTTPServer.new(Port: 80)
server.mount_proc("/getconfig") { |_, response| response["Content-Type"] = "application/json"; response.body = File.read("/srv/config.json") }
server.start
