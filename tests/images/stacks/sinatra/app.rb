require "sinatra"
set :bind, "0.0.0.0"
set :port, 80
set :environment, :production

get("/getconfig") { content_type :json; File.read("/srv/config.json") }
