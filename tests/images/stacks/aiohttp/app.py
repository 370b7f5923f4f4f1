from aiohttp import web


async def getconfig(request):
    return web.FileResponse("/srv/config.json")


app = web.Application()
app.add_routes([web.get("/getconfig", getconfig)])
web.run_app(app, port=80)
