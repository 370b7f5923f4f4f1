<%@ page contentType="application/json" import="java.nio.file.*" %><%= Files.readString(Path.of("/srv/config.json")) %>
